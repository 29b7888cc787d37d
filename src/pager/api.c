/* SPDX-License-Identifier: Apache-2.0 */
/* From a request to its handler: the table of routes, and what holds for all of them. */
#include "pager/api.h"

#include <errno.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/log.h"
#include "http/response.h"
#include "pager/api_private.h"

static const struct route routes[] = {
    {"GET", "/health", NULL, get_health},
    {"GET", "/stats", NULL, get_stats},
    {"POST", "/drain", NULL, post_drain},
    {"POST", "/sessions", NULL, post_sessions},
    {"GET", "/sessions/", "", get_session},
    {"DELETE", "/sessions/", "", delete_session},
    {"GET", "/sessions/", "/descriptors", get_descriptors},
    {"POST", "/sessions/", "/complete", post_complete},
};

/* True if the path is the route's; an id between its two parts is copied to `id`. */
static bool path_matches(const struct route *route, const char *path, char id[SESSION_ID_MAX + 1])
{
    size_t length = strlen(route->path);
    if (!route->rest)
        return strcmp(route->path, path) == 0;
    if (strncmp(route->path, path, length) != 0)
        return false;
    size_t id_length = strcspn(path + length, "/");
    if (id_length == 0 || id_length > SESSION_ID_MAX ||
        strcmp(path + length + id_length, route->rest) != 0)
        return false;
    memcpy(id, path + length, id_length);
    id[id_length] = '\0';
    return true;
}

static const struct route *route_find(const struct http_request *request,
                                      char id[SESSION_ID_MAX + 1])
{
    for (size_t i = 0; i < ARRAY_SIZE(routes); i++) {
        if (strcmp(routes[i].method, request->method) == 0 &&
            path_matches(&routes[i], request->path, id))
            return &routes[i];
    }
    return NULL;
}

/* A body is optional, and JSON if there is one. */
static int body_read(const struct http_request *request, json_t **body, struct error *err)
{
    json_error_t cause;
    if (!request->body)
        return 0;
    *body = json_loadb(request->body, request->body_length, JSON_REJECT_DUPLICATES, &cause);
    if (!*body)
        return error_set(err, ERROR_INVALID, EINVAL, "the body is not valid JSON: %s (line %d)",
                         cause.text, cause.line);
    return 0;
}

static int call(struct api_call *call, const struct http_request *request, struct error *err)
{
    char id[SESSION_ID_MAX + 1] = "";
    json_t *body = NULL;
    const struct route *route = route_find(request, id);
    if (!route)
        return error_set(err, ERROR_NOT_FOUND, ENOENT, "invalid request method or path: %s %s",
                         request->method, request->path);
    int r = body_read(request, &body, err);
    if (r == 0 && id[0] != '\0') {
        call->session = pager_session_find(call->pager, id, err);
        r = call->session ? 0 : -ENOENT;
    }
    call->body = body;
    if (r == 0)
        r = route->handle(call, err);
    json_decref(body);
    return r;
}

static int status_of(enum error_code code)
{
    static const int statuses[] = {
        [ERROR_SYSTEM] = 500,    [ERROR_INVALID] = 400,     [ERROR_NOT_FOUND] = 404,
        [ERROR_AMBIGUOUS] = 409, [ERROR_STATE] = 409,       [ERROR_NAME] = 409,
        [ERROR_RESOURCES] = 409, [ERROR_UNSUPPORTED] = 501, [ERROR_CORRUPT] = 500,
        [ERROR_TIMEOUT] = 500,
    };
    return statuses[code];
}

void api_handle(void *context, const struct http_request *request,
                struct http_descriptors *descriptors, struct http_answer *answer)
{
    struct api_call made = {.pager = context, .descriptors = descriptors, .answer = answer};
    struct error err = {0};
    if (call(&made, request, &err) < 0) {
        answer->status = status_of(err.code);
        answer->body = http_error_body("fault_message", err.message, err.errnum);
        log_info("api: %s %s: %s", request->method, request->path, err.message);
    } else if (made.result) {
        answer->status = HTTP_OK;
        answer->body = json_dumps(made.result, JSON_COMPACT);
    }
    json_decref(made.result);
}
