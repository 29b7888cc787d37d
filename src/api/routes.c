/* SPDX-License-Identifier: Apache-2.0 */
#include "api/routes.h"

#include <string.h>

#include "api/access.h"
#include "base/cleanup.h"

#define ANY  "{id}"
#define REST "{name...}"

static const struct route {
    const char *method;
    const char *path[5]; /* segments; "{id}" takes any, "{name...}" all that are left */
    route_handler *handle;
    const struct body_stream *body; /* NULL: an ordinary one */
} routes[] = {
    {"GET", {"health"}, health_get},
    {"GET", {"metrics"}, metrics_get},
    {"GET", {"events"}, events_stream},
    {"GET", {"resources"}, resources_get},
    {"GET", {"instances"}, instances_list},
    {"POST", {"instances"}, instances_create},
    {"GET", {"instances", ANY}, instance_get_one},
    {"PATCH", {"instances", ANY}, instance_patch_one},
    {"DELETE", {"instances", ANY}, instance_delete_one},
    {"POST", {"instances", ANY, "start"}, instance_start_one},
    {"POST", {"instances", ANY, "stop"}, instance_stop_one},
    {"POST", {"instances", ANY, "standby"}, instance_standby_one},
    {"POST", {"instances", ANY, "restore"}, instance_restore_one},
    {"POST", {"instances", ANY, "fork"}, instance_fork_one},
    {"GET", {"instances", ANY, "wait"}, instance_wait_one},
    {"GET", {"instances", ANY, "stats"}, instance_stats_one},
    {"GET", {"instances", ANY, "logs"}, instance_logs_stream},
    {"GET", {"instances", ANY, "exec"}, instance_exec_upgrade},
    {"POST", {"instances", ANY, "snapshots"}, snapshots_create},
    {"POST", {"instances", ANY, "snapshots", ANY, "restore"}, snapshot_restore_one},
    {"GET", {"snapshots"}, snapshots_list},
    {"GET", {"snapshots", ANY}, snapshot_get_one},
    {"DELETE", {"snapshots", ANY}, snapshot_delete_one},
    {"POST", {"snapshots", ANY, "fork"}, snapshot_fork_one},
    {"GET", {"instances", ANY, "warm"}, instance_warm_get},
    {"PUT", {"instances", ANY, "warm"}, instance_warm_put},
    {"DELETE", {"instances", ANY, "warm"}, instance_warm_delete},
    {"GET", {"snapshots", ANY, "warm"}, snapshot_warm_get},
    {"PUT", {"snapshots", ANY, "warm"}, snapshot_warm_put},
    {"DELETE", {"snapshots", ANY, "warm"}, snapshot_warm_delete},
    {"GET", {"warm"}, warm_list_all},
    {"GET", {"instances", ANY, "cp"}, instance_cp_upgrade},
    {"GET", {"instances", ANY, "stat"}, instance_stat_one},
    {"GET", {"images"}, images_list},
    {"POST", {"images"}, images_create},
    {"POST", {"images", "import"}, image_import_post, &image_import_body},
    {"GET", {"images", REST}, image_get_one},
    {"DELETE", {"images", REST}, image_delete_one},
};

#define REFERENCES_MAX 2 /* in one path */

static bool path_matches(const struct route *route, const struct uri *uri,
                         const char *references[REFERENCES_MAX])
{
    size_t i = 0, taken = 0;
    for (; i < ARRAY_SIZE(route->path) && route->path[i]; i++) {
        if (i >= uri->segment_count)
            return false;
        if (strcmp(route->path[i], REST) == 0)
            return true;
        bool any = strcmp(route->path[i], ANY) == 0;
        /* An empty id would be a prefix of every id. */
        if (any ? *uri->segments[i] == '\0' : strcmp(route->path[i], uri->segments[i]) != 0)
            return false;
        if (any && taken < REFERENCES_MAX)
            references[taken++] = uri->segments[i];
    }
    return i == uri->segment_count;
}

const struct body_stream *route_body_stream(const struct request *request)
{
    for (size_t i = 0; i < ARRAY_SIZE(routes); i++) {
        const char *references[REFERENCES_MAX];
        if (routes[i].body && strcmp(routes[i].method, request->method) == 0 &&
            path_matches(&routes[i], &request->uri, references))
            return routes[i].body;
    }
    return NULL;
}

enum MHD_Result route_dispatch(struct request *request)
{
    struct problem problem = {0};
    bool path_known = false;
    for (size_t i = 0; i < ARRAY_SIZE(routes); i++) {
        const char *references[REFERENCES_MAX] = {NULL};
        if (!path_matches(&routes[i], &request->uri, references))
            continue;
        path_known = true;
        if (strcmp(routes[i].method, request->method) != 0)
            continue;
        request->reference = references[0];
        request->inner = references[1];
        access_check_scope(request, &problem);
        if (problem.status != 0)
            return reply_problem(request, &problem);
        return routes[i].handle(request);
    }
    if (path_known)
        problem_set(&problem, 405, "Method Not Allowed", "%s is not possible on this path",
                    request->method);
    else
        problem_set(&problem, 404, "Not Found", "there is no such route");
    return reply_problem(request, &problem);
}
