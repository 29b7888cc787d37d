/* SPDX-License-Identifier: Apache-2.0 */
#include "api/compression.h"

#include <limits.h>

#include "api/instance_json.h"
#include "base/duration.h"

#define PROBLEM_COMPRESSION "invalid_snapshot_compression"
#define PROBLEM_DELAY       "invalid_compression_delay"

static void algorithm_read(const struct fields *compression, struct stack_compression *how)
{
    const char *algorithm = NULL;
    struct error err = {0};
    fields_string(compression, "algorithm", &algorithm);
    if (algorithm && stack_algorithm_parse(algorithm, &how->algorithm, &err) < 0)
        problem_set(compression->problem, 400, PROBLEM_COMPRESSION, "compression.algorithm: %s",
                    err.message);
}

static void level_read(const struct fields *compression, struct stack_compression *how)
{
    struct error err = {0};
    int64_t level = stack_default_level(how->algorithm);
    fields_integer(compression, "level", INT64_MIN, INT64_MAX, &level);
    how->level = level < INT_MIN ? INT_MIN : level > INT_MAX ? INT_MAX : (int)level;
    if (stack_compression_check(how, &err) < 0)
        problem_set(compression->problem, 400, PROBLEM_COMPRESSION, "compression.level: %s",
                    err.message);
}

bool compression_read(const struct fields *fields, bool has_memory, struct stack_compression *how,
                      const struct stack_compression **wish)
{
    struct fields compression = fields_object(fields, "compression", "compression.");
    bool enabled = false;
    *wish = NULL;
    fields_bool(&compression, "enabled", &enabled);
    if (compression.object && !json_object_get(compression.object, "enabled"))
        problem_set(fields->problem, 400, PROBLEM_COMPRESSION, "compression.enabled: is required");
    if (!enabled)
        return compression.object != NULL;
    if (!has_memory)
        problem_set(fields->problem, 400, PROBLEM_COMPRESSION,
                    "compression: a snapshot of kind Stopped has no memory to compress");
    *how = (struct stack_compression){.algorithm = STACK_ZSTD};
    algorithm_read(&compression, how);
    level_read(&compression, how);
    *wish = how;
    return true;
}

bool compression_delay_read(const struct fields *fields, uint64_t *delay_ns)
{
    const char *delay = NULL;
    int64_t nanoseconds = 0;
    struct error err = {0};
    fields_string(fields, "compression_delay", &delay);
    if (!delay)
        return false;
    if (duration_parse(delay, &nanoseconds, &err) < 0)
        problem_set(fields->problem, 400, PROBLEM_DELAY, "compression_delay: %s", err.message);
    if (nanoseconds < 0)
        problem_set(fields->problem, 400, PROBLEM_DELAY, "compression_delay: must not be negative");
    *delay_ns = (uint64_t)nanoseconds;
    return true;
}

static json_t *wish_json(const char *wish)
{
    struct stack_compression how;
    if (stack_compression_parse(wish, &how, NULL) < 0)
        return NULL;
    return json_pack("{s:b, s:s, s:i}", "enabled", 1, "algorithm",
                     stack_algorithm_name(how.algorithm), "level", how.level);
}

static json_t *size_or_null(bool known, uint64_t bytes)
{
    return known ? json_integer((json_int_t)bytes) : json_null();
}

void compression_add_json(json_t *object, const char *wish, const struct compression_status *status,
                          uint64_t memory_bytes)
{
    bool done = status->state == COMPRESSION_DONE;
    json_object_set_new(object, "compression_state",
                        json_string(compression_state_name(status->state)));
    if (*wish)
        json_object_set_new(object, "compression", wish_json(wish));
    json_object_set_new(object, "compression_error", text_or_null(status->error));
    json_object_set_new(object, "compressed_size_bytes",
                        size_or_null(done, status->compressed_size));
    json_object_set_new(object, "uncompressed_size_bytes", size_or_null(done, memory_bytes));
}
