/* SPDX-License-Identifier: Apache-2.0 */
/* snapshot_policy: how the memory of what sleeps is kept, unless a request says it itself. */
#include <errno.h>
#include <limits.h>

#include "base/cleanup.h"
#include "base/duration.h"
#include "policy/tables.h"

static struct stack_compression how_of(const json_t *compression)
{
    struct stack_compression how = {.algorithm = STACK_ZSTD};
    const char *name = json_string_value(json_object_get(compression, "algorithm"));
    if (name)
        stack_algorithm_parse(name, &how.algorithm, NULL); /* one of the words */
    const json_t *level = json_object_get(compression, "level");
    how.level = level ? (int)json_integer_value(level) : stack_default_level(how.algorithm);
    return how;
}

/* What is off has nothing else to say; which levels there are is up to the algorithm. */
static int compression_whole(const char *path, json_t *compression, struct error *err)
{
    struct error cause = {0};
    if (!json_is_true(json_object_get(compression, "enabled"))) {
        json_object_del(compression, "algorithm");
        json_object_del(compression, "level");
        return 0;
    }
    const struct stack_compression how = how_of(compression);
    if (stack_compression_check(&how, &cause) < 0)
        return field_invalid(err, path, "level", "%s", cause.message);
    json_object_set_new(compression, "level", json_integer(how.level));
    return 0;
}

static const char *const algorithms[] = {"zstd", "lz4", NULL};

static const struct field compression_fields[] = {
    {"enabled", VALUE_BOOL, .required = true},
    {"algorithm", VALUE_WORD, .words = algorithms, .preset = "zstd"},
    {"level", VALUE_INTEGER, .minimum = INT_MIN, .maximum = INT_MAX},
};
static const struct field_table compression_table = {
    compression_fields, ARRAY_SIZE(compression_fields), compression_whole};

static const struct field fields[] = {
    {"compression", VALUE_OBJECT, .object = &compression_table},
    {"standby_compression_delay", VALUE_DURATION, .minimum = 0},
};
const struct field_table snapshot_policy_fields = {fields, ARRAY_SIZE(fields), NULL};

struct snapshot_policy policies_snapshot(const char *text)
{
    struct snapshot_policy result = {.has_compression = false};
    _cleanup_(json) json_t *policy = policies_get(text, POLICY_SNAPSHOT);
    const json_t *compression = json_object_get(policy, "compression");
    const char *delay = json_string_value(json_object_get(policy, "standby_compression_delay"));
    int64_t nanoseconds = 0;
    result.has_compression = compression != NULL;
    result.compress = json_is_true(json_object_get(compression, "enabled"));
    if (result.compress)
        result.how = how_of(compression);
    if (delay && duration_parse(delay, &nanoseconds, NULL) == 0)
        result.standby_compression_delay_ns = (uint64_t)nanoseconds;
    return result;
}
