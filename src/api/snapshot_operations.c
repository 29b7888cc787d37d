/* SPDX-License-Identifier: Apache-2.0 */
/* Making a snapshot, and what can be made of one: POST /instances/{id}/snapshots,
 * POST /instances/{id}/snapshots/{id}/restore, POST /snapshots/{id}/fork. */
#include "api/compression.h"
#include "api/instance_json.h"
#include "api/routes.h"
#include "api/snapshot_json.h"
#include "api/tags.h"
#include "api/target_state.h"
#include "base/cleanup.h"
#include "instance/snapshot.h"

/* The contract: for snapshots a wrong state and a taken name are both a conflict. */
static enum MHD_Result reply_conflict(struct request *request, const struct error *err)
{
    struct problem problem = {0};
    if (err->code == ERROR_STATE || err->code == ERROR_NAME)
        problem_set(&problem, MHD_HTTP_CONFLICT, "conflict", "%s", err->message);
    problem_from_error(&problem, err);
    return reply_problem(request, &problem);
}

static void kind_read(const struct fields *fields, enum instance_state *kind)
{
    const char *text = NULL;
    fields_string(fields, "kind", &text);
    if (!text)
        problem_set(fields->problem, 400, PROBLEM_BAD_REQUEST, "kind: is required");
    else if (instance_state_parse(text, kind) < 0 ||
             (*kind != INSTANCE_STANDBY && *kind != INSTANCE_STOPPED))
        problem_set(fields->problem, 400, "invalid_request",
                    "kind: must be Standby or Stopped, not \"%.64s\"", text);
}

enum MHD_Result snapshots_create(struct request *request)
{
    struct problem problem = {0};
    struct snapshot_create_request create = {0};
    _cleanup_(json) json_t *body = request_body(request, &problem);
    struct fields fields = {body, "", &problem};
    kind_read(&fields, &create.kind);
    fields_string(&fields, "name", &create.name);
    _cleanup_(free) char *tags = tags_text(&fields);
    create.tags = tags;
    struct stack_compression how;
    create.has_compression =
        compression_read(&fields, create.kind == INSTANCE_STANDBY, &how, &create.compression);
    if (problem.status != 0)
        return reply_problem(request, &problem);
    struct snapshot_record record;
    struct error err = {0};
    if (snapshot_create(request->server->host, request->reference, &create, &record, &err) < 0)
        return reply_conflict(request, &err);
    return reply_json(request, MHD_HTTP_CREATED, snapshot_json(&record));
}

static void target_read(const struct fields *fields, struct snapshot_target *target)
{
    bool ignored = true;
    target->has_state = target_state_read(fields, &target->state);
    fields_string(fields, "target_hypervisor", &target->hypervisor);
    fields_bool(fields, "wait_for_network", &ignored); /* it is always ready when we answer */
}

enum MHD_Result snapshot_restore_one(struct request *request)
{
    struct problem problem = {0};
    struct snapshot_target target = {0};
    _cleanup_(json) json_t *body = request_body(request, &problem);
    target_read(&(struct fields){body, "", &problem}, &target);
    if (problem.status != 0)
        return reply_problem(request, &problem);
    struct instance_record record;
    struct error err = {0};
    if (snapshot_restore(request->server->host, request->reference, request->inner, &target,
                         &record, &err) < 0)
        return reply_error(request, &err);
    return reply_json(request, MHD_HTTP_OK, instance_json(&record, NULL));
}

enum MHD_Result snapshot_fork_one(struct request *request)
{
    struct problem problem = {0};
    struct snapshot_target target = {0};
    const char *name = NULL;
    _cleanup_(json) json_t *body = request_body(request, &problem);
    struct fields fields = {body, "", &problem};
    fields_string(&fields, "name", &name);
    target_read(&fields, &target);
    if (!name)
        problem_set(&problem, 400, PROBLEM_BAD_REQUEST, "name: is required");
    if (problem.status != 0)
        return reply_problem(request, &problem);
    struct instance_record record;
    struct error err = {0};
    if (snapshot_fork(request->server->host, request->reference, name, &target, &record, &err) < 0)
        return reply_conflict(request, &err);
    return reply_json(request, MHD_HTTP_CREATED, instance_json(&record, NULL));
}
