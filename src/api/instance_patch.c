/* SPDX-License-Identifier: Apache-2.0 */
/* PATCH /instances/{id}: until when it lives, its policies but for that of snapshots, `tine.tags`.
 */
#include <stdlib.h>
#include <string.h>

#include "api/instance_json.h"
#include "api/lifetime.h"
#include "api/policies.h"
#include "api/routes.h"
#include "api/tags.h"
#include "base/cleanup.h"

/* The contract: only what a credential refers to can be changed in `env`. */
static void env_check(const struct fields *fields)
{
    const json_t *env = fields_string_map(fields, "env");
    if (json_object_size(env) > 0)
        problem_set(fields->problem, 400, "invalid_request",
                    "env.%.64s: no credential refers to it: there are no credentials here",
                    json_object_iter_key(json_object_iter((json_t *)env)));
}

/* All that it is to have from now on; owner: caller. NULL: they stay, or a problem. */
static char *tags_wanted(const struct fields *fields)
{
    const struct fields tine = fields_object(fields, "tine", "tine.");
    char *tags = tags_text(&tine);
    const json_t *given = json_object_get(tine.object, "tags");
    if (tags || !given || json_is_null(given) || fields->problem->status != 0)
        return tags;
    tags = strdup("");
    if (!tags)
        problem_set(fields->problem, 500, "internal_error", "out of memory");
    return tags;
}

enum MHD_Result instance_patch_one(struct request *request)
{
    struct problem problem = {0};
    struct instance_lifetime lifetime = {0};
    _cleanup_(json) json_t *body = request_body(request, &problem);
    const struct fields fields = {body, "", &problem};
    env_check(&fields);
    _cleanup_(free) char *policies = policies_text(&fields, POLICY_SNAPSHOT);
    _cleanup_(free) char *tags = tags_wanted(&fields);
    bool has_lifetime = lifetime_read(&fields, &lifetime);
    if (!policies && !tags && !has_lifetime)
        problem_set(&problem, 400, "invalid_request",
                    "the body changes nothing: one of ttl, expires_at, auto_standby, health_check, "
                    "restart_policy and tine.tags is required");
    if (problem.status != 0)
        return reply_problem(request, &problem);
    const struct instance_changes changes = {
        .tags = tags, .policies = policies, .lifetime = has_lifetime ? &lifetime : NULL};
    struct instance_record record;
    struct error err = {0};
    if (instance_update(request->server->host, request->reference, &changes, &record, &err) < 0)
        return reply_error(request, &err);
    return reply_json(request, MHD_HTTP_OK, instance_json(&record, NULL));
}
