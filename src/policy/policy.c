/* SPDX-License-Identifier: Apache-2.0 */
#include "policy/policy.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "policy/tables.h"

static const struct {
    const char *name;
    const struct field_table *fields;
} policies[] = {
    [POLICY_SNAPSHOT] = {"snapshot_policy", &snapshot_policy_fields},
    [POLICY_AUTO_STANDBY] = {"auto_standby", &auto_standby_fields},
    [POLICY_HEALTH_CHECK] = {"health_check", &health_check_fields},
    [POLICY_RESTART] = {"restart_policy", &restart_policy_fields},
};
_Static_assert(ARRAY_SIZE(policies) == POLICY_KINDS, "one row each");

const char *policy_name(enum policy_kind kind)
{
    return policies[kind].name;
}

json_t *policy_check(enum policy_kind kind, const json_t *given, struct error *err)
{
    return object_canonical(policies[kind].fields, policies[kind].name, given, err);
}

static bool is_canonical(const json_t *all, enum policy_kind kind)
{
    const json_t *policy = json_object_get(all, policies[kind].name);
    _cleanup_(json) json_t *canonical = policy ? policy_check(kind, policy, NULL) : NULL;
    return !policy || json_equal(policy, canonical);
}

bool policies_valid(const char *text)
{
    _cleanup_(json) json_t *all = *text ? json_loads(text, JSON_REJECT_DUPLICATES, NULL) : NULL;
    size_t known = 0;
    bool valid = !*text || json_is_object(all);
    for (size_t i = 0; i < POLICY_KINDS; i++) {
        known += json_object_get(all, policies[i].name) != NULL;
        valid = valid && is_canonical(all, (enum policy_kind)i);
    }
    return valid && known == json_object_size(all);
}

int policies_merge(char text[POLICIES_SIZE], const char *changes, struct error *err)
{
    _cleanup_(json) json_t *all = *text ? json_loads(text, 0, NULL) : json_object();
    _cleanup_(json) json_t *changed = *changes ? json_loads(changes, 0, NULL) : json_object();
    if (json_object_update(all, changed) < 0)
        return error_errno(err, ENOMEM, NULL, "policies");
    _cleanup_(free) char *merged = json_object_size(all) > 0 ? json_dumps(all, JSON_COMPACT) : NULL;
    size_t length = merged ? strlen(merged) : 0;
    if (length >= POLICIES_SIZE)
        return error_set(err, ERROR_INVALID, E2BIG,
                         "the policies: more than %d bytes of JSON in all", POLICIES_SIZE - 1);
    memcpy(text, merged ? merged : "", length + 1);
    return 0;
}

json_t *policies_get(const char *text, enum policy_kind kind)
{
    _cleanup_(json) json_t *all = *text ? json_loads(text, 0, NULL) : NULL;
    return json_incref(json_object_get(all, policies[kind].name));
}
