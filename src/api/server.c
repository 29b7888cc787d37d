/* SPDX-License-Identifier: Apache-2.0 */
#include "api/server.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "api/access.h"
#include "api/framing.h"
#include "api/request.h"
#include "api/routes.h"
#include "base/cleanup.h"
#include "base/clock.h"
#include "base/log.h"

#define CONNECTION_MEMORY (size_t)(32u << 10) /* request line and headers must fit */
#define OVERSIZE_DISCARD  ((size_t)8 * SERVER_BODY_LIMIT)
#define SLOW_TIMEOUTS     4u /* a request may trickle in this many idle time-outs long */
#define NS_PER_S          1000000000ull

static void on_connection(void *data, struct MHD_Connection *connection, void **context,
                          enum MHD_ConnectionNotificationCode code)
{
    struct server_listener *listener = data;
    struct connections *connections = &listener->server->connections;
    if (code == MHD_CONNECTION_NOTIFY_CLOSED) {
        connection_remove(connections, *context);
        return;
    }
    const union MHD_ConnectionInfo *info =
        MHD_get_connection_info(connection, MHD_CONNECTION_INFO_CONNECTION_FD);
    *context = info ? connection_add(connections, info->connect_fd) : NULL;
}

static struct connection *connection_of(struct MHD_Connection *connection)
{
    const union MHD_ConnectionInfo *info =
        MHD_get_connection_info(connection, MHD_CONNECTION_INFO_SOCKET_CONTEXT);
    return info ? info->socket_context : NULL;
}

/* Called with the raw request target, before anything else of a request. */
static void *on_target(void *data, const char *target, struct MHD_Connection *connection)
{
    struct request *request = calloc(1, sizeof(*request));
    if (!request)
        return NULL;
    const struct server_listener *listener = data;
    request->server = listener->server;
    request->needs_token = listener->needs_token;
    request->connection = connection;
    request->started_ns = time_monotonic_ns();
    request->uri_status = uri_parse(&request->uri, target);
    return request;
}

static void on_completed(void *data, struct MHD_Connection *connection, void **context,
                         enum MHD_RequestTerminationCode code)
{
    struct request *request = *context;
    if (!request)
        return;
    if (request->counter)
        atomic_fetch_sub(request->counter, 1);
    connection_await(&request->server->connections, connection_of(connection));
    if (request->body_stream)
        request->body_stream->release(request);
    uri_release(&request->uri);
    free(request->body);
    free(request);
    *context = NULL;
}

static enum MHD_Result refuse(struct request *request, unsigned status, const char *code,
                              const char *message)
{
    struct problem problem = {0};
    problem_set(&problem, status, code, "%s", message);
    return reply_problem(request, &problem);
}

static enum MHD_Result refuse_large(struct request *request)
{
    return refuse(request, MHD_HTTP_CONTENT_TOO_LARGE, "Content Too Large",
                  "the body is larger than 1 MiB");
}

/* Whoever sends a body without a limit may take long over it, as long as it comes. */
static enum MHD_Result stream_begin(struct request *request, const struct body_stream *stream)
{
    struct problem problem = {0};
    if (atomic_load(&request->server->stopping))
        problem_set(&problem, MHD_HTTP_SERVICE_UNAVAILABLE, "Service Unavailable",
                    "tined is stopping");
    access_check_scope(request, &problem);
    if (problem.status == 0)
        stream->begin(request, &problem);
    if (problem.status != 0)
        return reply_problem(request, &problem);
    request->body_stream = stream;
    connection_arrived(connection_of(request->connection));
    return MHD_YES;
}

static enum MHD_Result headers_received(struct request *request)
{
    struct problem problem = {0};
    request->dispatched = true;
    framing_check(request->connection, &problem);
    if (request->needs_token)
        access_check(request, &problem);
    if (problem.status != 0)
        return reply_problem(request, &problem);
    const struct body_stream *stream = request->uri_status == 0 ? route_body_stream(request) : NULL;
    if (stream)
        return stream_begin(request, stream);
    const char *length = MHD_lookup_connection_value(request->connection, MHD_HEADER_KIND,
                                                     MHD_HTTP_HEADER_CONTENT_LENGTH);
    if (length && strtoull(length, NULL, 10) > SERVER_BODY_LIMIT)
        return refuse_large(request);
    return MHD_YES;
}

static enum MHD_Result body_append(struct request *request, const char *data, size_t length)
{
    if (request->body_stream) {
        request->body_stream->take(request, data, length);
        return MHD_YES;
    }
    if (request->body_length + length > SERVER_BODY_LIMIT)
        request->body_too_large = true;
    if (request->body_too_large) {
        /* Read on, so that the client gets the answer; but not for ever. */
        request->body_length += length;
        return request->body_length > OVERSIZE_DISCARD ? MHD_NO : MHD_YES;
    }
    if (request->body_length + length > request->body_capacity) {
        size_t capacity = 2 * (request->body_length + length);
        char *grown = realloc(request->body, capacity);
        if (!grown)
            return MHD_NO;
        request->body = grown;
        request->body_capacity = capacity;
    }
    memcpy(request->body + request->body_length, data, length);
    request->body_length += length;
    return MHD_YES;
}

/* The client's time-out is off while an operation runs: it may take minutes. */
static enum MHD_Result dispatch_untimed(struct request *request)
{
    MHD_set_connection_option(request->connection, MHD_CONNECTION_OPTION_TIMEOUT, 0u);
    enum MHD_Result r = route_dispatch(request);
    /* A stream goes on as long as the client reads. */
    if (request->counter == &request->server->active)
        MHD_set_connection_option(request->connection, MHD_CONNECTION_OPTION_TIMEOUT,
                                  request->server->request_timeout_s);
    return r;
}

static enum MHD_Result request_complete(struct request *request)
{
    if (request->body_too_large)
        return refuse_large(request);
    if (request->uri_status == -EINVAL)
        return refuse(request, MHD_HTTP_BAD_REQUEST, PROBLEM_BAD_REQUEST,
                      "the request target is malformed");
    if (request->uri_status < 0)
        return MHD_NO;
    connection_arrived(connection_of(request->connection));
    request->counter = &request->server->active;
    atomic_fetch_add(request->counter, 1);
    if (atomic_load(&request->server->stopping))
        return refuse(request, MHD_HTTP_SERVICE_UNAVAILABLE, "Service Unavailable",
                      "tined is stopping");
    enum MHD_Result r = dispatch_untimed(request);
    log_debug("%s /%s%s%s -> %u in %llu ms", request->method,
              request->uri.segment_count > 0 ? request->uri.segments[0] : "",
              request->reference ? "/" : "", request->reference ? request->reference : "",
              request->status,
              (unsigned long long)((time_monotonic_ns() - request->started_ns) / 1000000u));
    return r;
}

static enum MHD_Result on_request(void *data, struct MHD_Connection *connection, const char *url,
                                  const char *method, const char *version, const char *upload_data,
                                  size_t *upload_data_size, void **context)
{
    struct request *request = *context;
    if (!request)
        return MHD_NO;
    request->method = method;
    if (!request->dispatched)
        return headers_received(request);
    if (*upload_data_size > 0) {
        enum MHD_Result r = body_append(request, upload_data, *upload_data_size);
        *upload_data_size = 0;
        return r;
    }
    return request_complete(request);
}

static void on_log(void *data, const char *format, va_list args)
{
    char line[512];
    vsnprintf(line, sizeof(line), format, args);
    size_t length = strlen(line);
    if (length > 0 && line[length - 1] == '\n')
        line[length - 1] = '\0';
    log_debug("http: %s", line);
}

int server_start(struct server *server, struct error *err)
{
    atomic_init(&server->stopping, false);
    atomic_init(&server->active, 0);
    atomic_init(&server->streams, 0);
    server->listener_count = 0;
    connections_init(&server->connections, NS_PER_S * SLOW_TIMEOUTS * server->request_timeout_s);
    server->stop_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    if (server->stop_fd >= 0)
        return 0;
    connections_release(&server->connections);
    return error_errno(err, errno, NULL, "eventfd");
}

int server_listen(struct server *server, int listen_fd, bool needs_token, struct error *err)
{
    struct server_listener *listener = &server->listeners[server->listener_count];
    *listener = (struct server_listener){.server = server, .needs_token = needs_token};
    struct MHD_OptionItem options[] = {
        {MHD_OPTION_EXTERNAL_LOGGER, (intptr_t)on_log, NULL},
        {MHD_OPTION_LISTEN_SOCKET, listen_fd, NULL},
        {MHD_OPTION_URI_LOG_CALLBACK, (intptr_t)on_target, listener},
        {MHD_OPTION_NOTIFY_CONNECTION, (intptr_t)on_connection, listener},
        {MHD_OPTION_NOTIFY_COMPLETED, (intptr_t)on_completed, listener},
        {MHD_OPTION_CONNECTION_TIMEOUT, (intptr_t)server->request_timeout_s, NULL},
        {MHD_OPTION_CONNECTION_LIMIT, (intptr_t)server->max_connections, NULL},
        {MHD_OPTION_CONNECTION_MEMORY_LIMIT, CONNECTION_MEMORY, NULL},
        {MHD_OPTION_END, 0, NULL},
    };
    listener->daemon = MHD_start_daemon(
        MHD_USE_INTERNAL_POLLING_THREAD | MHD_USE_THREAD_PER_CONNECTION | MHD_USE_POLL |
            MHD_USE_ITC | MHD_ALLOW_UPGRADE | MHD_USE_ERROR_LOG,
        0, NULL, NULL, on_request, listener, MHD_OPTION_ARRAY, options, MHD_OPTION_END);
    if (listener->daemon) {
        server->listener_count++;
        return 0;
    }
    close(listen_fd);
    return error_set(err, ERROR_SYSTEM, EIO, "the HTTP server does not start");
}

void server_sweep(struct server *server)
{
    connections_sweep(&server->connections);
}

void server_refuse(struct server *server)
{
    atomic_store(&server->stopping, true);
    uint64_t one = 1;
    /* A counter that starts at zero takes one. */
    if (write(server->stop_fd, &one, sizeof(one)) < 0)
        log_error("eventfd: %s", strerror(errno));
    for (size_t i = 0; i < server->listener_count; i++) {
        int listen_fd = MHD_quiesce_daemon(server->listeners[i].daemon);
        if (listen_fd >= 0)
            close(listen_fd);
    }
}

void server_stop(struct server *server)
{
    for (size_t i = 0; i < server->listener_count; i++)
        MHD_stop_daemon(server->listeners[i].daemon);
    server->listener_count = 0;
    connections_release(&server->connections);
    close(server->stop_fd);
}
