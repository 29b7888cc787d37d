/* SPDX-License-Identifier: Apache-2.0 */
#ifndef TINE_BASE_JSON_H
#define TINE_BASE_JSON_H

#include <jansson.h>

/* For `_cleanup_(json)`. */
static inline void cleanup_json(json_t **json)
{
    json_decref(*json);
}

#endif
