/* SPDX-License-Identifier: Apache-2.0 */
/* One client: bytes in, requests to the handler one at a time, answers out. While an answer is
 * not written completely nothing more is read, so a client that pipelines without reading only
 * stops itself. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "http/descriptors.h"
#include "http/response.h"
#include "http/server_private.h"

#define READS_PER_TURN 8u
/* After the last answer input is thrown away until the client closes, because unread bytes at our
 * close could cost it the answer; but not for ever. */
#define DRAIN_LIMIT (4u << 20)

struct http_connection {
    struct loop_source source;
    struct http_server *server;
    struct http_parser parser;
    uint32_t events; /* what the loop waits for */
    char in[2048];
    size_t in_used, in_length;
    char *out;
    size_t out_used, out_length;
    /* Those of the request that comes in, and those of the answer until its first byte is out. */
    struct http_descriptors received, sending;
    bool too_many; /* descriptors came that don't fit */
    bool last;     /* close after what is in `out` */
    bool fatal;    /* end the process then */
    bool draining; /* our side is shut down; input is thrown away */
    size_t drained;
};

static void connection_ready(struct loop_source *source, uint32_t events);

static void close_all(struct http_descriptors *descriptors)
{
    for (size_t i = 0; i < descriptors->count; i++)
        cleanup_close(&descriptors->fds[i]);
    descriptors->count = 0;
}

struct http_connection *http_connection_create(struct http_server *server, int fd,
                                               struct error *err)
{
    struct http_connection *connection = calloc(1, sizeof(*connection));
    if (!connection) {
        close(fd);
        error_errno(err, ENOMEM, NULL, "API connection");
        return NULL;
    }
    connection->server = server;
    connection->source = (struct loop_source){.fd = fd, .ready = connection_ready};
    connection->events = EPOLLIN;
    http_parser_init(&connection->parser, server->config.body_limit);
    if (loop_add(server->loop, &connection->source, EPOLLIN, err) < 0) {
        http_connection_destroy(connection);
        return NULL;
    }
    return connection;
}

void http_connection_destroy(struct http_connection *connection)
{
    if (!connection)
        return;
    /* The end that a failed load asks for comes also when its client did not wait. */
    if (connection->fatal)
        loop_stop(connection->server->loop, 1);
    loop_remove(connection->server->loop, &connection->source);
    close(connection->source.fd);
    close_all(&connection->received);
    close_all(&connection->sending);
    http_parser_free(&connection->parser);
    free(connection->out);
    free(connection);
}

static bool wait_for(struct http_connection *connection, uint32_t events)
{
    if (connection->events == events)
        return true;
    connection->events = events;
    return loop_modify(connection->server->loop, &connection->source, events, NULL) == 0;
}

static ssize_t send_some(const struct http_connection *connection, const char *text, size_t length)
{
    const struct http_descriptors *sending = &connection->sending;
    if (sending->count > 0)
        return descriptors_send(connection->source.fd, text, length, sending->fds, sending->count);
    return send(connection->source.fd, text, length, MSG_NOSIGNAL);
}

/* Writes what it can of the answer; false if the client is gone. */
static bool flush(struct http_connection *connection)
{
    while (connection->out_used < connection->out_length) {
        ssize_t n = send_some(connection, connection->out + connection->out_used,
                              connection->out_length - connection->out_used);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return errno == EAGAIN;
        close_all(&connection->sending);
        connection->out_used += (size_t)n;
    }
    free(TAKE_PTR(connection->out));
    connection->out_used = connection->out_length = 0;
    return true;
}

/* True if an answer could be queued; there is none queued yet. */
static bool put_answer(struct http_connection *connection, int status, const char *body)
{
    connection->out = http_response(connection->server->config.name, status, body, connection->last,
                                    &connection->out_length);
    return connection->out != NULL;
}

static bool answer_bad(struct http_connection *connection, const char *reason)
{
    _cleanup_(free) char *body = http_error_body("error", reason, 0);
    connection->last = true;
    return put_answer(connection, HTTP_BAD_REQUEST, body);
}

static bool answer_continue(struct http_connection *connection)
{
    connection->out = http_continue(connection->server->config.name, &connection->out_length);
    return connection->out != NULL;
}

static bool answer_request(struct http_connection *connection)
{
    const struct http_server_config *config = &connection->server->config;
    struct http_answer answer = {.status = HTTP_NO_CONTENT};
    if (connection->too_many)
        return answer_bad(connection, "too many descriptors came with the request");
    connection->last = connection->parser.request.close;
    config->handle(config->context, &connection->parser.request, &connection->received, &answer);
    http_parser_next(&connection->parser);
    close_all(&connection->received);
    connection->fatal = answer.fatal;
    connection->sending.count = answer.descriptor_count;
    memcpy(connection->sending.fds, answer.descriptors, sizeof(answer.descriptors));
    bool queued = put_answer(connection, answer.status, answer.body);
    free(answer.body);
    return queued;
}

/* Feeds the parser up to its next event; false if there is no memory for an answer. */
static bool parse(struct http_connection *connection)
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
        return answer_bad(connection, connection->parser.reason);
    default:
        return true;
    }
}

static ssize_t receive(struct http_connection *connection)
{
    struct http_descriptors *received = &connection->received;
    if (!connection->server->config.descriptors)
        return recv(connection->source.fd, connection->in, sizeof(connection->in), 0);
    size_t count = 0;
    bool too_many = false;
    ssize_t n = descriptors_receive(connection->source.fd, connection->in, sizeof(connection->in),
                                    received->fds + received->count,
                                    HTTP_MAX_DESCRIPTORS - received->count, &count, &too_many);
    received->count += count;
    connection->too_many |= too_many;
    return n;
}

/* Reads the next bytes: 1, 0 if there are none now, -1 if none will come. */
static int fill(struct http_connection *connection)
{
    ssize_t n = receive(connection);
    if (n > 0) {
        connection->in_used = 0;
        connection->in_length = (size_t)n;
        return 1;
    }
    return n < 0 && (errno == EAGAIN || errno == EINTR) ? 0 : -1;
}

/* The last answer is out: what still comes in is thrown away; false when it is over. */
static bool drain(struct http_connection *connection)
{
    if (!connection->draining && shutdown(connection->source.fd, SHUT_WR) < 0)
        return false;
    connection->draining = true;
    int r = fill(connection);
    connection->drained += r > 0 ? connection->in_length : 0;
    return r >= 0 && connection->drained <= DRAIN_LIMIT && wait_for(connection, EPOLLIN);
}

/* Goes on as far as the socket allows; false when the connection is over. */
static bool work(struct http_connection *connection)
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
    struct http_connection *connection = CONTAINER_OF(source, struct http_connection, source);
    if (!work(connection))
        http_connection_closed(connection->server, connection);
}
