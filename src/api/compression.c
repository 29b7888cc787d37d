/* SPDX-License-Identifier: Apache-2.0 */
#include "api/compression.h"

#define PROBLEM_COMPRESSION "invalid_snapshot_compression"

void compression_check(const struct fields *fields, bool has_memory)
{
    struct fields compression = fields_object(fields, "compression", "compression.");
    bool enabled = false;
    fields_bool(&compression, "enabled", &enabled);
    if (compression.object && !json_object_get(compression.object, "enabled"))
        problem_set(fields->problem, 400, PROBLEM_COMPRESSION, "compression.enabled: is required");
    if (enabled && !has_memory)
        problem_set(fields->problem, 400, PROBLEM_COMPRESSION,
                    "compression: a snapshot of kind Stopped has no memory to compress");
    if (enabled)
        problem_set(fields->problem, 501, "not_supported",
                    "compression: memory can't be compressed yet");
}
