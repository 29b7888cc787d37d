/* SPDX-License-Identifier: Apache-2.0 */
#include <poll.h>
#include <stdlib.h>
#include <string.h>

#include "api/json_text.h"
#include "api/request.h"
#include "base/cleanup.h"

enum MHD_Result reply_response(struct request *request, unsigned status,
                               struct MHD_Response *response)
{
    request->status = status;
    /* Clients of this API send a request again after these, doing the work twice, unless told. */
    if (status == MHD_HTTP_CONFLICT || status >= 500)
        MHD_add_response_header(response, "x-should-retry", "false");
    if (status == MHD_HTTP_UNAUTHORIZED)
        MHD_add_response_header(response, MHD_HTTP_HEADER_WWW_AUTHENTICATE, "Bearer");
    return MHD_queue_response(request->connection, status, response);
}

static enum MHD_Result reply_text(struct request *request, unsigned status, char *text)
{
    struct MHD_Response *response =
        MHD_create_response_from_buffer(strlen(text), text, MHD_RESPMEM_MUST_FREE);
    if (!response) {
        free(text);
        return MHD_NO;
    }
    MHD_add_response_header(response, MHD_HTTP_HEADER_CONTENT_TYPE, "application/json");
    enum MHD_Result r = reply_response(request, status, response);
    MHD_destroy_response(response);
    return r;
}

enum MHD_Result reply_json(struct request *request, unsigned status, json_t *body)
{
    char *text = json_dumps(body, JSON_COMPACT);
    json_decref(body);
    return text ? reply_text(request, status, text) : MHD_NO;
}

enum MHD_Result reply_empty(struct request *request, unsigned status)
{
    struct MHD_Response *response =
        MHD_create_response_from_buffer(0, (void *)"", MHD_RESPMEM_PERSISTENT);
    if (!response)
        return MHD_NO;
    enum MHD_Result r = reply_response(request, status, response);
    MHD_destroy_response(response);
    return r;
}

enum MHD_Result reply_problem(struct request *request, const struct problem *problem)
{
    /* Messages quote paths and names, which need not be UTF-8. */
    json_t *message = json_text(problem->message, strlen(problem->message));
    json_t *body = json_pack("{s:s, s:o}", "code", problem->code, "message", message);
    return reply_json(request, problem->status, body);
}

enum MHD_Result reply_error(struct request *request, const struct error *err)
{
    struct problem problem = {0};
    problem_from_error(&problem, err);
    return reply_problem(request, &problem);
}

void request_becomes_stream(struct request *request)
{
    atomic_fetch_add(&request->server->streams, 1);
    atomic_fetch_sub(request->counter, 1);
    request->counter = &request->server->streams;
}

json_t *request_body(const struct request *request, struct problem *problem)
{
    return fields_parse(request->body, request->body_length, problem);
}

int request_descriptor(const struct request *request)
{
    const union MHD_ConnectionInfo *info =
        MHD_get_connection_info(request->connection, MHD_CONNECTION_INFO_CONNECTION_FD);
    return info ? info->connect_fd : -1;
}

int request_wait(const struct request *request, int timeout_ms)
{
    struct pollfd fds[] = {
        {.fd = request->server->stop_fd, .events = POLLIN},
        {.fd = request_descriptor(request), .events = POLLRDHUP},
    };
    return poll(fds, ARRAY_SIZE(fds), timeout_ms) > 0;
}
