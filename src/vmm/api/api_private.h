/* SPDX-License-Identifier: Apache-2.0 */
/* What the files of this room share. */
#ifndef TINE_VMM_API_API_PRIVATE_H
#define TINE_VMM_API_API_PRIVATE_H

#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>

#include "http/server.h"
#include "vmm/api/api.h"

#define API_LEVEL "1.16.1" /* the version of Firecracker's API that is spoken */

struct api {
    struct http_server *server;
    struct vmm *vmm;      /* borrowed */
    bool boot_configured; /* something boot-specific was set: no snapshot can be loaded any more */
    char *metrics_path;   /* NULL: not configured */
    uint64_t requests, failures;
};

/* ---- one request (dispatch.c) ---- */

void api_dispatch(struct api *api, const struct http_request *request,
                  struct http_descriptors *descriptors, struct http_answer *answer);
/* The body of a PUT or PATCH, valid JSON of whatever kind; NULL for a GET, which has none. */
int api_body_read(const struct http_request *request, json_t **body, struct error *err);
/* The answer to a request that failed, which is logged. */
void api_answer_failure(const struct http_request *request, const struct error *err,
                        struct http_answer *answer);

/* A request on its way through a handler. */
struct api_call {
    struct api *api;
    struct vmm *vmm;
    const char *id;                       /* last part of the path, for routes with an id */
    const json_t *body;                   /* PUT and PATCH: an object or whatever else was sent */
    struct http_descriptors *descriptors; /* that came with it */
    json_t *answer; /* set by the handler (ownership passes): 200; left NULL: 204 */
    bool fatal;     /* set by the handler with its error */
};

enum route_phase {
    PHASE_PREBOOT = 1,  /* while nothing runs */
    PHASE_POSTBOOT = 2, /* running or paused */
    PHASE_BOTH = 3,
};

struct route {
    const char *method;
    const char *path; /* with a trailing slash: an id follows */
    enum route_phase phase;
    /* 0, or a negative errno and `err`: 400 with its message. */
    int (*handle)(struct api_call *call, struct error *err);
};

/* ---- the handlers, by resource ---- */

int get_instance(struct api_call *call, struct error *err);
int get_version(struct api_call *call, struct error *err);
int get_vm_config(struct api_call *call, struct error *err);
int get_machine_config(struct api_call *call, struct error *err);
int put_machine_config(struct api_call *call, struct error *err);
int patch_machine_config(struct api_call *call, struct error *err);
int put_boot_source(struct api_call *call, struct error *err);
int put_drive(struct api_call *call, struct error *err);
int patch_drive(struct api_call *call, struct error *err);
int put_vsock(struct api_call *call, struct error *err);
int put_entropy(struct api_call *call, struct error *err);
int put_network_interface(struct api_call *call, struct error *err);
int get_balloon(struct api_call *call, struct error *err);
int put_balloon(struct api_call *call, struct error *err);
int patch_balloon(struct api_call *call, struct error *err);
int put_logger(struct api_call *call, struct error *err);
int put_serial(struct api_call *call, struct error *err);
int put_metrics(struct api_call *call, struct error *err);
int metrics_flush(struct api *api, struct error *err);
int put_actions(struct api_call *call, struct error *err);
int patch_vm(struct api_call *call, struct error *err);
int put_snapshot_create(struct api_call *call, struct error *err);
int put_snapshot_load(struct api_call *call, struct error *err);
int put_template(struct api_call *call, struct error *err);
int put_memory_populate(struct api_call *call, struct error *err);
int get_memory_touched(struct api_call *call, struct error *err);

#endif
