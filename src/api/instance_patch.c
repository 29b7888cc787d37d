/* SPDX-License-Identifier: Apache-2.0 */
/* PATCH /instances/{id}: `tine.tags` is what can be changed. */
#include <stdlib.h>
#include <string.h>

#include "api/instance_json.h"
#include "api/routes.h"
#include "api/tags.h"
#include "base/cleanup.h"

/* Those of the contract rule what is not here: credentials, policies, expiry. */
static void refuse_others(const struct fields *fields)
{
    static const char *const others[] = {"env", "auto_standby", "health_check", "restart_policy",
                                         "ttl", "expires_at"};
    for (size_t i = 0; i < ARRAY_SIZE(others); i++) {
        const json_t *value = json_object_get(fields->object, others[i]);
        if (value && !json_is_null(value))
            problem_set(fields->problem, 501, "not_supported", "%s: can't be changed here",
                        others[i]);
    }
}

/* All that it is to have from now on. Owner: caller; NULL and a problem. */
static char *tags_wanted(const struct fields *fields)
{
    const struct fields tine = fields_object(fields, "tine", "tine.");
    char *tags = tags_text(&tine);
    const json_t *given = json_object_get(tine.object, "tags");
    if (!given || json_is_null(given))
        problem_set(fields->problem, 400, "invalid_request",
                    "the body changes nothing: tine.tags is required");
    if (!tags && fields->problem->status == 0)
        tags = strdup("");
    if (!tags)
        problem_set(fields->problem, 500, "internal_error", "out of memory");
    return tags;
}

enum MHD_Result instance_patch_one(struct request *request)
{
    struct problem problem = {0};
    _cleanup_(json) json_t *body = request_body(request, &problem);
    const struct fields fields = {body, "", &problem};
    refuse_others(&fields);
    _cleanup_(free) char *tags = tags_wanted(&fields);
    if (problem.status != 0)
        return reply_problem(request, &problem);
    struct instance_record record;
    struct error err = {0};
    if (instance_tag(request->server->host, request->reference, tags, &record, &err) < 0)
        return reply_error(request, &err);
    return reply_json(request, MHD_HTTP_OK, instance_json(&record, NULL));
}
