/* SPDX-License-Identifier: Apache-2.0 */
/* From a request to its handler: the table of routes, and what holds for all of them. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/log.h"
#include "http/response.h"
#include "vmm/api/api_private.h"

static const struct route routes[] = {
    {"GET", "/", PHASE_BOTH, get_instance},
    {"GET", "/version", PHASE_BOTH, get_version},
    {"GET", "/vm/config", PHASE_BOTH, get_vm_config},
    {"GET", "/machine-config", PHASE_BOTH, get_machine_config},
    {"PUT", "/machine-config", PHASE_PREBOOT, put_machine_config},
    {"PATCH", "/machine-config", PHASE_PREBOOT, patch_machine_config},
    {"PUT", "/boot-source", PHASE_PREBOOT, put_boot_source},
    {"PUT", "/drives/", PHASE_PREBOOT, put_drive},
    {"PATCH", "/drives/", PHASE_POSTBOOT, patch_drive},
    {"PUT", "/vsock", PHASE_PREBOOT, put_vsock},
    {"PUT", "/entropy", PHASE_PREBOOT, put_entropy},
    {"PUT", "/network-interfaces/", PHASE_BOTH, put_network_interface},
    {"PATCH", "/network-interfaces/", PHASE_BOTH, put_network_interface},
    {"GET", "/balloon", PHASE_BOTH, get_balloon},
    {"PUT", "/balloon", PHASE_PREBOOT, put_balloon},
    {"PATCH", "/balloon", PHASE_POSTBOOT, patch_balloon},
    {"PUT", "/logger", PHASE_PREBOOT, put_logger},
    {"PUT", "/serial", PHASE_PREBOOT, put_serial},
    {"PUT", "/metrics", PHASE_PREBOOT, put_metrics},
    {"PUT", "/actions", PHASE_BOTH, put_actions},
    {"PATCH", "/vm", PHASE_POSTBOOT, patch_vm},
    {"PUT", "/snapshot/create", PHASE_POSTBOOT, put_snapshot_create},
    {"PUT", "/snapshot/load", PHASE_PREBOOT, put_snapshot_load},
    {"PUT", "/template", PHASE_POSTBOOT, put_template},
    {"PUT", "/memory/populate", PHASE_POSTBOOT, put_memory_populate},
    {"GET", "/memory/touched", PHASE_POSTBOOT, get_memory_touched},
};

/* The id at the end of `path` if it fits the route ("" for a route without one), else NULL. */
static const char *path_match(const struct route *route, const char *path)
{
    size_t length = strlen(route->path);
    bool has_id = length > 1 && route->path[length - 1] == '/';
    if (!has_id)
        return strcmp(route->path, path) == 0 ? "" : NULL;
    if (strncmp(route->path, path, length) != 0 || strchr(path + length, '/'))
        return NULL;
    return path + length;
}

static const struct route *route_find(const char *method, const char *path, const char **id)
{
    for (size_t i = 0; i < ARRAY_SIZE(routes); i++) {
        *id = path_match(&routes[i], path);
        if (*id && strcmp(routes[i].method, method) == 0)
            return &routes[i];
    }
    return NULL;
}

static int phase_check(const struct route *route, enum vmm_state state, struct error *err)
{
    enum route_phase phase = state == VMM_NOT_STARTED ? PHASE_PREBOOT : PHASE_POSTBOOT;
    if (route->phase & phase)
        return 0;
    return error_set(err, ERROR_STATE, EINVAL, "%s %s is not supported %s starting the microVM",
                     route->method, route->path, phase == PHASE_PREBOOT ? "before" : "after");
}

int api_body_read(const struct http_request *request, json_t **body, struct error *err)
{
    json_error_t cause;
    bool wanted = strcmp(request->method, "GET") != 0;
    if (!wanted && request->body)
        return error_set(err, ERROR_INVALID, EINVAL, "GET requests can't have a body");
    if (!wanted)
        return 0;
    if (!request->body)
        return error_set(err, ERROR_INVALID, EINVAL, "%s %s needs a body", request->method,
                         request->path);
    *body = json_loadb(request->body, request->body_length,
                       JSON_REJECT_DUPLICATES | JSON_DECODE_ANY, &cause);
    if (!*body)
        return error_set(err, ERROR_INVALID, EINVAL, "the body is not valid JSON: %s (line %d)",
                         cause.text, cause.line);
    return 0;
}

static int call_handler(struct api_call *call, const struct http_request *request,
                        struct error *err)
{
    char path[HTTP_LINE_LIMIT];
    memcpy(path, request->path, sizeof(path));
    size_t length = strlen(path);
    if (length > 1 && path[length - 1] == '/')
        path[length - 1] = '\0';
    const struct route *route = route_find(request->method, path, &call->id);
    if (!route)
        return error_set(err, ERROR_NOT_FOUND, EINVAL, "invalid request method or path: %s %s",
                         request->method, request->path);
    json_t *body = NULL;
    int r = api_body_read(request, &body, err);
    if (r == 0)
        r = phase_check(route, vmm_state(call->vmm), err);
    call->body = body;
    if (r == 0)
        r = route->handle(call, err);
    call->body = NULL;
    call->id = NULL;
    json_decref(body);
    return r;
}

void api_answer_failure(const struct http_request *request, const struct error *err,
                        struct http_answer *answer)
{
    answer->status = HTTP_BAD_REQUEST;
    answer->body = http_error_body("fault_message", err->message, err->errnum);
    log_info("api: %s %s: %s", request->method, request->path, err->message);
}

void api_dispatch(struct api *api, const struct http_request *request,
                  struct http_descriptors *descriptors, struct http_answer *answer)
{
    struct api_call call = {.api = api, .vmm = api->vmm, .descriptors = descriptors};
    struct error err = {0};
    *answer = (struct http_answer){.status = HTTP_NO_CONTENT};
    api->requests++;
    if (call_handler(&call, request, &err) < 0) {
        api->failures++;
        api_answer_failure(request, &err, answer);
        answer->fatal = call.fatal;
    } else if (call.answer) {
        answer->status = HTTP_OK;
        answer->body = json_dumps(call.answer, JSON_COMPACT);
    }
    json_decref(call.answer);
}
