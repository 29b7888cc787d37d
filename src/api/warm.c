/* SPDX-License-Identifier: Apache-2.0 */
/* Forks that are kept ready: GET, PUT and DELETE of /instances/{id}/warm and /snapshots/{id}/warm,
 * GET /warm. */
#include "instance/warm.h"

#include <stdlib.h>

#include "api/instance_json.h"
#include "api/routes.h"
#include "api/warm_json.h"
#include "base/cleanup.h"

typedef int warm_setter(struct host *host, const char *reference, unsigned ready,
                        struct warm_status *status, struct error *err);

static enum MHD_Result put(struct request *request, warm_setter *set)
{
    struct problem problem = {0};
    struct warm_status status;
    struct error err = {0};
    int64_t ready = -1;
    _cleanup_(json) json_t *body = request_body(request, &problem);
    const struct fields fields = {body, "", &problem};
    fields_integer(&fields, "ready", 0, WARM_READY_MAX, &ready);
    if (problem.status == 0 && ready < 0)
        problem_set(&problem, 400, PROBLEM_BAD_REQUEST, "ready: is required");
    if (problem.status != 0)
        return reply_problem(request, &problem);
    if (set(request->server->host, request->reference, (unsigned)ready, &status, &err) < 0)
        return reply_error(request, &err);
    return reply_json(request, MHD_HTTP_OK, warm_json(&status));
}

static enum MHD_Result end(struct request *request, warm_setter *set)
{
    struct error err = {0};
    if (set(request->server->host, request->reference, 0, NULL, &err) < 0)
        return reply_error(request, &err);
    return reply_empty(request, MHD_HTTP_NO_CONTENT);
}

enum MHD_Result instance_warm_get(struct request *request)
{
    struct instance_record record;
    struct error err = {0};
    if (instance_get(request->server->host, request->reference, &record, &err) < 0)
        return reply_error(request, &err);
    return reply_json(request, MHD_HTTP_OK, warm_json(&record.warm));
}

enum MHD_Result instance_warm_put(struct request *request)
{
    return put(request, instance_warm);
}

enum MHD_Result instance_warm_delete(struct request *request)
{
    return end(request, instance_warm);
}

enum MHD_Result snapshot_warm_get(struct request *request)
{
    struct snapshot_record record;
    struct error err = {0};
    if (snapshot_get(request->server->host, request->reference, &record, &err) < 0)
        return reply_error(request, &err);
    return reply_json(request, MHD_HTTP_OK, warm_json(&record.warm));
}

enum MHD_Result snapshot_warm_put(struct request *request)
{
    return put(request, snapshot_warm);
}

enum MHD_Result snapshot_warm_delete(struct request *request)
{
    return end(request, snapshot_warm);
}

static json_t *entry_json(const struct warm_entry *entry)
{
    json_t *json = warm_json(&entry->status);
    json_object_set_new(json, "id", json_string(entry->id));
    json_object_set_new(json, "name", text_or_null(entry->name));
    json_object_set_new(json, "kind", json_string(entry->snapshot ? "snapshot" : "instance"));
    return json;
}

enum MHD_Result warm_list_all(struct request *request)
{
    _cleanup_(free) struct warm_entry *entries = NULL;
    size_t count = 0;
    struct error err = {0};
    if (warm_list(request->server->host, &entries, &count, &err) < 0)
        return reply_error(request, &err);
    json_t *list = json_array();
    for (size_t i = 0; i < count; i++)
        json_array_append_new(list, entry_json(&entries[i]));
    return reply_json(request, MHD_HTTP_OK, list);
}
