/* SPDX-License-Identifier: Apache-2.0 */
/* One client: bytes in, requests to the dispatcher one at a time, answers out. While an answer is
 * not written completely nothing more is read, so a client that pipelines without reading only
 * stops itself. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "vmm/api/api_private.h"
#include "vmm/api/http_response.h"

#define READS_PER_TURN 8u
/* After the last answer input is thrown away until the client closes, because unread bytes at our
 * close could cost it the answer; but not for ever. */
#define DRAIN_LIMIT (4u << 20)

struct connection {
    struct loop_source source;
    struct api *api;
    struct http_parser parser;
    uint32_t events; /* what the loop waits for */
    char in[2048];
    size_t in_used, in_length;
    char *out;
    size_t out_used, out_length;
    bool last;     /* close after what is in `out` */
    bool fatal;    /* end the process then */
    bool draining; /* our side is shut down; input is thrown away */
    size_t drained;
};

static void connection_ready(struct loop_source *source, uint32_t events);

struct connection *api_connection_create(struct api *api, int fd, struct error *err)
{
    struct connection *connection = calloc(1, sizeof(*connection));
    if (!connection) {
        close(fd);
        error_errno(err, ENOMEM, NULL, "API connection");
        return NULL;
    }
    connection->api = api;
    connection->source = (struct loop_source){.fd = fd, .ready = connection_ready};
    connection->events = EPOLLIN;
    http_parser_init(&connection->parser, api->body_limit);
    if (loop_add(api->loop, &connection->source, EPOLLIN, err) < 0) {
        api_connection_destroy(connection);
        return NULL;
    }
    return connection;
}

void api_connection_destroy(struct connection *connection)
{
    if (!connection)
        return;
    /* The end that a failed load asks for comes also when its client did not wait. */
    if (connection->fatal)
        loop_stop(connection->api->loop, 1);
    loop_remove(connection->api->loop, &connection->source);
    close(connection->source.fd);
    http_parser_free(&connection->parser);
    free(connection->out);
    free(connection);
}

static bool wait_for(struct connection *connection, uint32_t events)
{
    if (connection->events == events)
        return true;
    connection->events = events;
    return loop_modify(connection->api->loop, &connection->source, events, NULL) == 0;
}

/* Writes what it can of the answer; false if the client is gone. */
static bool flush(struct connection *connection)
{
    while (connection->out_used < connection->out_length) {
        ssize_t n = send(connection->source.fd, connection->out + connection->out_used,
                         connection->out_length - connection->out_used, MSG_NOSIGNAL);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return errno == EAGAIN;
        connection->out_used += (size_t)n;
    }
    free(TAKE_PTR(connection->out));
    connection->out_used = connection->out_length = 0;
    return true;
}

/* True if an answer could be queued; there is none queued yet. */
static bool put_answer(struct connection *connection, int status, const char *body)
{
    connection->out = http_response(status, body, connection->last, &connection->out_length);
    return connection->out != NULL;
}

static bool answer_bad(struct connection *connection)
{
    _cleanup_(free) char *body = http_error_body("error", connection->parser.reason, 0);
    connection->last = true;
    return put_answer(connection, STATUS_BAD, body);
}

static bool answer_continue(struct connection *connection)
{
    connection->out = strdup(HTTP_CONTINUE_LINE);
    connection->out_length = strlen(HTTP_CONTINUE_LINE);
    return connection->out != NULL;
}

static bool answer_request(struct connection *connection)
{
    struct api_answer answer = {0};
    connection->last = connection->parser.request.close;
    api_dispatch(connection->api, &connection->parser.request, &answer);
    http_parser_next(&connection->parser);
    connection->fatal = answer.fatal;
    bool queued = put_answer(connection, answer.status, answer.body);
    free(answer.body);
    return queued;
}

/* Feeds the parser up to its next event; false if there is no memory for an answer. */
static bool parse(struct connection *connection)
{
    size_t consumed = 0;
    enum http_event event =
        http_parser_feed(&connection->parser, connection->in + connection->in_used,
                         connection->in_length - connection->in_used, &consumed);
    connection->in_used += consumed;
    switch (event) {
    case HTTP_REQUEST:
        return answer_request(connection);
    case HTTP_CONTINUE:
        return answer_continue(connection);
    case HTTP_BAD:
        return answer_bad(connection);
    default:
        return true;
    }
}

/* Reads the next bytes: 1, 0 if there are none now, -1 if none will come. */
static int fill(struct connection *connection)
{
    ssize_t n = recv(connection->source.fd, connection->in, sizeof(connection->in), 0);
    if (n > 0) {
        connection->in_used = 0;
        connection->in_length = (size_t)n;
        return 1;
    }
    return n < 0 && (errno == EAGAIN || errno == EINTR) ? 0 : -1;
}

/* The last answer is out: what still comes in is thrown away; false when it is over. */
static bool drain(struct connection *connection)
{
    if (!connection->draining && shutdown(connection->source.fd, SHUT_WR) < 0)
        return false;
    connection->draining = true;
    int r = fill(connection);
    connection->drained += r > 0 ? connection->in_length : 0;
    return r >= 0 && connection->drained <= DRAIN_LIMIT && wait_for(connection, EPOLLIN);
}

/* Goes on as far as the socket allows; false when the connection is over. */
static bool work(struct connection *connection)
{
    unsigned reads = 0;
    for (;;) {
        if (!flush(connection))
            return false;
        if (connection->out)
            return wait_for(connection, EPOLLOUT);
        if (connection->fatal)
            return false;
        if (connection->last)
            return drain(connection);
        if (connection->in_used == connection->in_length) {
            /* Others get their turn; what is left makes the loop call again. */
            int r = reads++ < READS_PER_TURN ? fill(connection) : 0;
            if (r <= 0)
                return r == 0 && wait_for(connection, EPOLLIN);
        }
        if (!parse(connection))
            return false;
    }
}

static void connection_ready(struct loop_source *source, uint32_t events)
{
    struct connection *connection = CONTAINER_OF(source, struct connection, source);
    if (!work(connection))
        api_connection_closed(connection->api, connection);
}
