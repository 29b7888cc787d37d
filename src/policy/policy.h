/* SPDX-License-Identifier: Apache-2.0 */
/* What an instance is to do, or have done to it, by itself. Each policy is a JSON object of the
 * REST contract. All of an instance are one text, {"restart_policy":{...},...}, which its row
 * holds; an empty text has none. Only the canonical form is kept: fields that the contract doesn't
 * know are gone, those that were left out have their default, durations read "5m0s". */
#ifndef TINE_POLICY_POLICY_H
#define TINE_POLICY_POLICY_H

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/error.h"
#include "stack/compression.h"

#define POLICIES_SIZE 4096 /* of the text */

enum policy_kind {
    POLICY_SNAPSHOT,
    POLICY_AUTO_STANDBY,
    POLICY_HEALTH_CHECK,
    POLICY_RESTART,
    POLICY_KINDS,
};

/* "snapshot_policy", "auto_standby", "health_check", "restart_policy" */
const char *policy_name(enum policy_kind kind);

/* The canonical form of one policy; owner: caller. NULL and ERROR_INVALID, naming the field
 * ("health_check.http.port") and what is wrong with it. */
json_t *policy_check(enum policy_kind kind, const json_t *given, struct error *err);

/* True if the text is one that this room has written, or could have. */
bool policies_valid(const char *text);
/* The policies of `text`, but those that `changes` has as it has them. -E2BIG (ERROR_INVALID) if
 * that is longer than a row may hold; then `text` is as it was. */
int policies_merge(char text[POLICIES_SIZE], const char *changes, struct error *err);

struct snapshot_policy {
    bool has_compression;         /* else the host's default counts */
    bool compress;                /* with has_compression */
    struct stack_compression how; /* with compress */
    uint64_t standby_compression_delay_ns;
};
/* An instance without one has an empty one. */
struct snapshot_policy policies_snapshot(const char *text);

enum restart_when { RESTART_NEVER, RESTART_ALWAYS, RESTART_ON_FAILURE };

struct restart_policy {
    enum restart_when when;
    uint64_t backoff_ns;
    unsigned max_attempts; /* 0: no limit */
    uint64_t stable_after_ns;
};
/* An instance without one is never restarted. */
struct restart_policy policies_restart(const char *text);

#endif
