/* SPDX-License-Identifier: Apache-2.0 */
#include "paging/control.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "http/client.h"

#define CALL_MS 10000u

static enum error_code code_of(int status)
{
    switch (status) {
    case 404:
        return ERROR_NOT_FOUND;
    case 409:
        return ERROR_STATE;
    case 501:
        return ERROR_UNSUPPORTED;
    default:
        return ERROR_SYSTEM; /* the requests are ours */
    }
}

static int fault(const struct control_request *request, const struct control_reply *reply,
                 struct error *err)
{
    const json_t *body = reply->body;
    const char *message = json_string_value(json_object_get(body, "fault_message"));
    const char *name = json_string_value(json_object_get(body, "errno"));
    int errnum = name ? errno_number(name) : 0;
    return error_set(err, code_of(reply->status), errnum > 0 ? errnum : EREMOTEIO,
                     "pager: %s %s: %s", request->method, request->path,
                     message ? message : "refused");
}

static int no_call(const struct control_request *request, int errnum, struct error *err)
{
    return error_errno(err, errnum, request->socket, "pager %s: %s %s", request->socket,
                       request->method, request->path);
}

/* Takes over what came. */
static int reply_read(const struct control_request *request, struct http_reply *answer,
                      struct control_reply *reply, struct error *err)
{
    for (size_t i = 0; i < answer->fd_count && i < CONTROL_DESCRIPTORS; i++)
        reply->fds[reply->fd_count++] = TAKE_FD(answer->fds[i]);
    if (answer->fd_count > CONTROL_DESCRIPTORS)
        return no_call(request, EPROTO, err);
    if (answer->body && !(reply->body = json_loads(answer->body, 0, NULL)))
        return no_call(request, EPROTO, err);
    reply->status = answer->status;
    return reply->status == 200 || reply->status == 204 ? 0 : fault(request, reply, err);
}

int control_call(const struct control_request *request, struct control_reply *reply,
                 struct error *err)
{
    *reply = (struct control_reply){.fds = {-1, -1}};
    _cleanup_(free) char *body = request->body ? json_dumps(request->body, JSON_COMPACT) : NULL;
    json_decref(request->body);
    if (request->has_body && !body)
        return no_call(request, ENOMEM, err);
    const struct http_call call = {.server = "pager",
                                   .socket = request->socket,
                                   .method = request->method,
                                   .path = request->path,
                                   .body = body,
                                   .fds = request->fds,
                                   .fd_count = request->fd_count,
                                   .timeout_ms = CALL_MS};
    _cleanup_(http_reply) struct http_reply answer = {.status = 0};
    int r = http_call(&call, &answer, err);
    return r < 0 ? r : reply_read(request, &answer, reply, err);
}

void control_reply_free(struct control_reply *reply)
{
    json_decref(reply->body);
    reply->body = NULL;
    for (size_t i = 0; i < reply->fd_count; i++)
        close(reply->fds[i]);
    reply->fd_count = 0;
}
