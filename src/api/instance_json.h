/* SPDX-License-Identifier: Apache-2.0 */
/* An instance as the API shows it. */
#ifndef TINE_API_INSTANCE_JSON_H
#define TINE_API_INSTANCE_JSON_H

#include <jansson.h>

#include "instance/instance.h"

/* The Instance object, with our own fields in "tine"; `stats` may be NULL: then without the link
 * count of the memory file. Never NULL but for lack of memory. */
json_t *instance_json(const struct instance_record *record, const struct instance_stats *stats);

/* Adds to its disks what their files say. */
void instance_json_disks(json_t *instance, const struct disk_stats *stats);

/* Parts that other objects have too: an RFC 3339 time, null for 0; a text, null for an empty one.
 */
json_t *time_json(uint64_t realtime_ns);
json_t *text_or_null(const char *text);

#endif
