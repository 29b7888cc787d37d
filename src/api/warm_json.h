/* SPDX-License-Identifier: Apache-2.0 */
#ifndef TINE_API_WARM_JSON_H
#define TINE_API_WARM_JSON_H

#include <jansson.h>

#include "store/store.h"

/* What is kept ready of an instance or a snapshot. */
json_t *warm_json(const struct warm_status *status);
/* The same; null for what is not kept warm. */
json_t *warm_json_or_null(const struct warm_status *status);

#endif
