/* SPDX-License-Identifier: Apache-2.0 */
#include "api/policies.h"

#include "base/cleanup.h"

static const char *const codes[POLICY_KINDS] = {
    [POLICY_SNAPSHOT] = "invalid_snapshot_policy",
    [POLICY_AUTO_STANDBY] = "invalid_auto_standby",
    [POLICY_HEALTH_CHECK] = "invalid_health_check",
    [POLICY_RESTART] = "invalid_restart_policy",
};

static void policy_read(const struct fields *fields, enum policy_kind kind, json_t *all)
{
    struct error err = {0};
    const json_t *given = json_object_get(fields->object, policy_name(kind));
    if (!given || json_is_null(given))
        return;
    json_t *policy = policy_check(kind, given, &err);
    if (policy)
        json_object_set_new(all, policy_name(kind), policy);
    else
        problem_set(fields->problem, 400, codes[kind], "%s%s", fields->prefix, err.message);
}

char *policies_text(const struct fields *fields, enum policy_kind but)
{
    _cleanup_(json) json_t *all = json_object();
    for (size_t i = 0; i < POLICY_KINDS; i++) {
        if ((enum policy_kind)i != but)
            policy_read(fields, (enum policy_kind)i, all);
    }
    if (fields->problem->status != 0 || json_object_size(all) == 0)
        return NULL;
    return json_dumps(all, JSON_COMPACT);
}

void policies_add_json(json_t *instance, const char *text)
{
    _cleanup_(json) json_t *all = *text ? json_loads(text, 0, NULL) : NULL;
    json_object_update(instance, all);
}
