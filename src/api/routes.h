/* SPDX-License-Identifier: Apache-2.0 */
/* The table of routes, and their handlers: one file per resource. */
#ifndef TINE_API_ROUTES_H
#define TINE_API_ROUTES_H

#include "api/request.h"

/* Finds the route of the request and runs its handler; answers 404 or 405 if there is none. */
enum MHD_Result route_dispatch(struct request *request);

typedef enum MHD_Result route_handler(struct request *request);

/* For a route whose body has no limit: it is taken as it comes instead of being kept. */
struct body_stream {
    /* Before the body comes; with a problem it is not read. */
    void (*begin)(struct request *request, struct problem *problem);
    void (*take)(struct request *request, const char *data, size_t length);
    /* After a begin without a problem, at the request's end, whether it got to its handler or not.
     */
    void (*release)(struct request *request);
};
/* NULL: the request's body is an ordinary one. */
const struct body_stream *route_body_stream(const struct request *request);

route_handler health_get;
route_handler metrics_get;
route_handler events_stream;
route_handler instances_list;
route_handler instances_create;
route_handler instance_get_one;
route_handler instance_patch_one;
route_handler instance_delete_one;
route_handler instance_start_one;
route_handler instance_stop_one;
route_handler instance_standby_one;
route_handler instance_restore_one;
route_handler instance_fork_one;
route_handler instance_wait_one;
route_handler instance_stats_one;
route_handler instance_logs_stream;
route_handler instance_exec_upgrade;
route_handler snapshots_list;
route_handler snapshots_create;
route_handler snapshot_get_one;
route_handler snapshot_delete_one;
route_handler snapshot_restore_one;
route_handler snapshot_fork_one;
route_handler instance_warm_get;
route_handler instance_warm_put;
route_handler instance_warm_delete;
route_handler snapshot_warm_get;
route_handler snapshot_warm_put;
route_handler snapshot_warm_delete;
route_handler warm_list_all;
route_handler instance_cp_upgrade;
route_handler instance_stat_one;
route_handler resources_get;
route_handler images_list;
route_handler images_create;
route_handler image_get_one;
route_handler image_delete_one;
route_handler image_import_post;
extern const struct body_stream image_import_body;

#endif
