/* SPDX-License-Identifier: Apache-2.0 */
#ifndef TINE_API_JSON_TEXT_H
#define TINE_API_JSON_TEXT_H

#include <jansson.h>
#include <stddef.h>

/* A JSON string of any bytes: what is not UTF-8 becomes U+FFFD. NULL only for lack of memory. */
json_t *json_text(const char *text, size_t length);

/* For `_cleanup_(json)`. */
static inline void cleanup_json(json_t **json)
{
    json_decref(*json);
}

#endif
