/* SPDX-License-Identifier: Apache-2.0 */
#include "api/scopes.h"

#include <string.h>

#include "base/cleanup.h"

#define ANY "*"

const char *const scope_names[] = {
    SCOPE_ALL,       "instance:read",  "instance:write",  "instance:delete",
    "snapshot:read", "snapshot:write", "snapshot:delete", "image:read",
    "image:write",   "image:delete",   "resource:read",   NULL,
};

/* The first row whose method and first segments fit decides. A path that no row knows needs
 * everything, so a new route is closed until it has a row. */
static const struct rule {
    const char *method, *path[3], *scope;
} rules[] = {
    {"GET", {"health"}, NULL},
    {"GET", {"resources"}, "resource:read"},
    {"GET", {"metrics"}, "resource:read"},
    {"GET", {"events"}, "instance:read"},
    {"GET", {"instances", ANY, "exec"}, "instance:write"},
    {"GET", {"instances", ANY, "cp"}, "instance:write"},
    {"POST", {"instances", ANY, "snapshots"}, "snapshot:write"},
    {"PUT", {"instances", ANY, "warm"}, "instance:write"},
    {"DELETE", {"instances", ANY, "warm"}, "instance:write"},
    {"PUT", {"snapshots", ANY, "warm"}, "snapshot:write"},
    {"DELETE", {"snapshots", ANY, "warm"}, "snapshot:write"},
    {"GET", {"warm"}, "instance:read"},
    {"GET", {"instances"}, "instance:read"},
    {"POST", {"instances"}, "instance:write"},
    {"PATCH", {"instances"}, "instance:write"},
    {"DELETE", {"instances"}, "instance:delete"},
    {"GET", {"snapshots"}, "snapshot:read"},
    {"POST", {"snapshots"}, "snapshot:write"},
    {"DELETE", {"snapshots"}, "snapshot:delete"},
    {"GET", {"images"}, "image:read"},
    {"POST", {"images"}, "image:write"},
    {"DELETE", {"images"}, "image:delete"},
};

static bool rule_fits(const struct rule *rule, const char *method, const char *const *segments,
                      size_t count)
{
    if (strcmp(rule->method, method) != 0)
        return false;
    for (size_t i = 0; i < ARRAY_SIZE(rule->path) && rule->path[i]; i++) {
        if (i >= count ||
            (strcmp(rule->path[i], ANY) != 0 && strcmp(rule->path[i], segments[i]) != 0))
            return false;
    }
    return true;
}

const char *scope_needed(const char *method, const char *const *segments, size_t count)
{
    for (size_t i = 0; i < ARRAY_SIZE(rules); i++) {
        if (rule_fits(&rules[i], method, segments, count))
            return rules[i].scope;
    }
    return SCOPE_ALL;
}

bool scope_is_known(const char *name)
{
    for (size_t i = 0; scope_names[i]; i++) {
        if (strcmp(scope_names[i], name) == 0)
            return true;
    }
    return false;
}
