/* SPDX-License-Identifier: Apache-2.0 */
/* restart_policy: whether an instance whose VM ended by itself is started again. */
#include "base/cleanup.h"
#include "policy/tables.h"

#define BACKOFF_MIN  100000000 /* nanoseconds: a start takes longer anyway */
#define ATTEMPTS_MAX 1000000

static const char *const words[] = {"never", "always", "on_failure", NULL};

static const struct field fields[] = {
    {"policy", FIELD_WORD, .words = words, .preset = "never"},
    {"backoff", FIELD_DURATION, .minimum = BACKOFF_MIN, .preset = "5s"},
    {"max_attempts", FIELD_INTEGER, .minimum = 0, .maximum = ATTEMPTS_MAX, .preset = "0"},
    {"stable_after", FIELD_DURATION, .minimum = 0, .preset = "10m0s"},
};
const struct field_table restart_policy_fields = {fields, ARRAY_SIZE(fields), NULL};
