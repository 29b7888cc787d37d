/* SPDX-License-Identifier: Apache-2.0 */
/* POST /instances/{id}/fork. */
#include "api/instance_json.h"
#include "api/routes.h"
#include "api/target_state.h"
#include "base/cleanup.h"

static void request_read(const struct fields *fields, struct instance_fork_request *fork)
{
    bool ignored = true;
    fields_string(fields, "name", &fork->name);
    fields_bool(fields, "from_running", &fork->from_running);
    fields_bool(fields, "wait_for_network", &ignored); /* a fork is always ready when we answer */
    fork->has_target = target_state_read(fields, &fork->target);
    if (!fork->name)
        problem_set(fields->problem, 400, PROBLEM_BAD_REQUEST, "name: is required");
}

enum MHD_Result instance_fork_one(struct request *request)
{
    struct problem problem = {0};
    struct instance_fork_request fork = {0};
    _cleanup_(json) json_t *body = request_body(request, &problem);
    if (body)
        request_read(&(struct fields){body, "", &problem}, &fork);
    if (problem.status != 0)
        return reply_problem(request, &problem);
    struct instance_record record;
    struct error err = {0};
    if (instance_fork(request->server->host, request->reference, &fork, &record, &err) < 0)
        return reply_error(request, &err);
    return reply_json(request, MHD_HTTP_CREATED, instance_json(&record, NULL));
}
