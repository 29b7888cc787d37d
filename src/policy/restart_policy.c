/* SPDX-License-Identifier: Apache-2.0 */
/* restart_policy: whether an instance whose VM ended by itself is started again. */
#include <string.h>

#include "base/cleanup.h"
#include "base/duration.h"
#include "policy/tables.h"

#define BACKOFF_MIN  100000000 /* nanoseconds: a start takes longer anyway */
#define ATTEMPTS_MAX 1000000

static const char *const words[] = {[RESTART_NEVER] = "never",
                                    [RESTART_ALWAYS] = "always",
                                    [RESTART_ON_FAILURE] = "on_failure",
                                    NULL};

static const struct field fields[] = {
    {"policy", VALUE_WORD, .words = words, .preset = "never"},
    {"backoff", VALUE_DURATION, .minimum = BACKOFF_MIN, .preset = "5s"},
    {"max_attempts", VALUE_INTEGER, .minimum = 0, .maximum = ATTEMPTS_MAX, .preset = "0"},
    {"stable_after", VALUE_DURATION, .minimum = 0, .preset = "10m0s"},
};
const struct field_table restart_policy_fields = {fields, ARRAY_SIZE(fields), NULL};

static uint64_t duration_of(const json_t *policy, const char *name)
{
    int64_t nanoseconds = 0;
    const char *text = json_string_value(json_object_get(policy, name));
    return text && duration_parse(text, &nanoseconds, NULL) == 0 ? (uint64_t)nanoseconds : 0;
}

struct restart_policy policies_restart(const char *text)
{
    struct restart_policy result = {.when = RESTART_NEVER};
    _cleanup_(json) json_t *policy = policies_get(text, POLICY_RESTART);
    const char *when = json_string_value(json_object_get(policy, "policy"));
    for (size_t i = 0; when && words[i]; i++) {
        if (strcmp(when, words[i]) == 0)
            result.when = (enum restart_when)i;
    }
    result.backoff_ns = duration_of(policy, "backoff");
    result.max_attempts = (unsigned)json_integer_value(json_object_get(policy, "max_attempts"));
    result.stable_after_ns = duration_of(policy, "stable_after");
    return result;
}
