/* SPDX-License-Identifier: Apache-2.0 */
#include "api/snapshot_json.h"

#include "api/compression.h"
#include "api/instance_json.h"
#include "api/warm_json.h"

json_t *snapshot_json(const struct snapshot_record *record)
{
    const struct instance_record *source = &record->source;
    json_t *json =
        json_pack("{s:s, s:o, s:s, s:s, s:s, s:s, s:o, s:I}", "id", record->id, "name",
                  text_or_null(record->name), "kind", instance_state_name(record->kind),
                  "source_instance_id", source->id, "source_instance_name", source->name,
                  "source_hypervisor", source->hypervisor, "created_at",
                  time_json(record->created_at_ns), "size_bytes", (json_int_t)record->size_bytes);
    compression_add_json(json, record->compression, &record->compression_status,
                         source->memory_bytes);
    json_object_set_new(json, "tine", json_pack("{s:o}", "warm", warm_json_or_null(&record->warm)));
    if (*record->tags)
        json_object_set_new(json, "tags", json_loads(record->tags, 0, NULL));
    return json;
}
