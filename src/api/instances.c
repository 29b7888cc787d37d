/* SPDX-License-Identifier: Apache-2.0 */
/* The collection and one of it: list, get, delete. */
#include <stdlib.h>

#include "api/instance_json.h"
#include "api/routes.h"
#include "api/tags.h"
#include "base/cleanup.h"

/* The optional filter by state; only exact spellings. */
static int wanted_state(const struct request *request, bool *any, enum instance_state *state,
                        struct problem *problem)
{
    const char *text = uri_query(&request->uri, "state");
    *any = !text;
    if (!text || instance_state_parse(text, state) == 0)
        return 0;
    return problem_set(problem, 400, PROBLEM_BAD_REQUEST, "state: \"%.64s\" is not a state", text);
}

enum MHD_Result instances_list(struct request *request)
{
    struct problem problem = {0};
    enum instance_state state = INSTANCE_UNKNOWN;
    bool any;
    if (wanted_state(request, &any, &state, &problem) < 0)
        return reply_problem(request, &problem);
    _cleanup_(free) struct instance_record *records = NULL;
    size_t count = 0;
    struct error err = {0};
    if (instance_list(request->server->host, &records, &count, &err) < 0)
        return reply_error(request, &err);
    json_t *list = json_array();
    for (size_t i = 0; i < count; i++) {
        if ((any || records[i].state == state) && tags_match(records[i].tags, &request->uri))
            json_array_append_new(list, instance_json(&records[i], NULL));
    }
    return reply_json(request, MHD_HTTP_OK, list);
}

enum MHD_Result instance_get_one(struct request *request)
{
    struct instance_record record;
    struct instance_stats stats;
    struct disk_stats disks[GUEST_MAX_DISKS];
    struct error err = {0};
    if (instance_get(request->server->host, request->reference, &record, &err) < 0)
        return reply_error(request, &err);
    /* The instance may be gone or changing by now: then without the figures. */
    bool known = instance_stats(request->server->host, record.id, &stats, NULL) == 0;
    json_t *instance = instance_json(&record, known ? &stats : NULL);
    if (instance && instance_disk_stats(request->server->host, record.id, disks, NULL) == 0)
        instance_json_disks(instance, disks);
    return reply_json(request, MHD_HTTP_OK, instance);
}

enum MHD_Result instance_delete_one(struct request *request)
{
    struct error err = {0};
    if (instance_delete(request->server->host, request->reference, &err) < 0)
        return reply_error(request, &err);
    return reply_empty(request, MHD_HTTP_NO_CONTENT);
}
