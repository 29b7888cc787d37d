/* SPDX-License-Identifier: Apache-2.0 */
#ifndef TINE_API_SNAPSHOT_JSON_H
#define TINE_API_SNAPSHOT_JSON_H

#include <jansson.h>

#include "store/store.h"

/* The Snapshot object. Never NULL but for lack of memory. */
json_t *snapshot_json(const struct snapshot_record *record);

#endif
