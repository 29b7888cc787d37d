/* SPDX-License-Identifier: Apache-2.0 */
/* The collection of snapshots and one of it: list, get, delete. */
#include <stdlib.h>

#include "api/routes.h"
#include "api/snapshot_json.h"
#include "api/tags.h"
#include "base/cleanup.h"
#include "instance/snapshot.h"

static int filter_read(const struct request *request, struct snapshot_filter *filter,
                       struct problem *problem)
{
    const char *kind = uri_query(&request->uri, "kind");
    filter->name = uri_query(&request->uri, "name");
    filter->source_instance_id = uri_query(&request->uri, "source_instance_id");
    filter->has_kind = kind != NULL;
    if (!kind || (instance_state_parse(kind, &filter->kind) == 0 &&
                  (filter->kind == INSTANCE_STANDBY || filter->kind == INSTANCE_STOPPED)))
        return 0;
    return problem_set(problem, 400, PROBLEM_BAD_REQUEST,
                       "kind: must be Standby or Stopped, not \"%.64s\"", kind);
}

enum MHD_Result snapshots_list(struct request *request)
{
    struct problem problem = {0};
    struct snapshot_filter filter = {0};
    if (filter_read(request, &filter, &problem) < 0)
        return reply_problem(request, &problem);
    _cleanup_(free) struct snapshot_record *records = NULL;
    size_t count = 0;
    struct error err = {0};
    if (snapshot_list(request->server->host, &filter, &records, &count, &err) < 0)
        return reply_error(request, &err);
    json_t *list = json_array();
    for (size_t i = 0; i < count; i++) {
        if (tags_match(records[i].tags, &request->uri))
            json_array_append_new(list, snapshot_json(&records[i]));
    }
    return reply_json(request, MHD_HTTP_OK, list);
}

enum MHD_Result snapshot_get_one(struct request *request)
{
    struct snapshot_record record;
    struct error err = {0};
    if (snapshot_get(request->server->host, request->reference, &record, &err) < 0)
        return reply_error(request, &err);
    return reply_json(request, MHD_HTTP_OK, snapshot_json(&record));
}

enum MHD_Result snapshot_delete_one(struct request *request)
{
    struct error err = {0};
    if (snapshot_delete(request->server->host, request->reference, &err) < 0)
        return reply_error(request, &err);
    return reply_empty(request, MHD_HTTP_NO_CONTENT);
}
