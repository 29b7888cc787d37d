/* SPDX-License-Identifier: Apache-2.0 */
#include "http/client.h"

#include <errno.h>
#include <poll.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#include "base/cleanup.h"
#include "base/clock.h"
#include "base/unix_socket.h"
#include "http/descriptors.h"

#define RETRY_MS     2u
#define ANSWER_LIMIT ((size_t)16 << 20)
#define ANSWER_STEP  ((size_t)64 << 10)

/* One request under way. */
struct exchange {
    const struct http_call *call;
    struct http_reply *reply;
    int fd;
    uint64_t deadline_ns;
    char *answer;
    size_t length, capacity;
};

static int failed(const struct exchange *exchange, int errnum, struct error *err)
{
    const struct http_call *call = exchange->call;
    if (errnum == ETIMEDOUT)
        return error_set(err, ERROR_TIMEOUT, ETIMEDOUT, "%s %s: %s %s: no answer in %u s",
                         call->server, call->socket, call->method, call->path,
                         call->timeout_ms / 1000);
    return error_errno(err, errnum, call->socket, "%s %s: %s %s", call->server, call->socket,
                       call->method, call->path);
}

/* 0: ready, or a negative errno. */
static int wait_for(const struct exchange *exchange, short events)
{
    struct pollfd fd = {.fd = exchange->fd, .events = events};
    for (;;) {
        int left_ms = time_left_ms(exchange->deadline_ns);
        int n = left_ms > 0 ? poll(&fd, 1, left_ms) : 0;
        if (n > 0)
            return 0;
        if (n == 0)
            return -ETIMEDOUT;
        if (errno != EINTR)
            return -errno;
    }
}

/* A server that has many connections lets the others wait in its queue. */
static int exchange_connect(struct exchange *exchange, struct error *err)
{
    for (;;) {
        exchange->fd = unix_connect(exchange->call->socket, SOCK_NONBLOCK, err);
        if (exchange->fd != -EAGAIN)
            return exchange->fd < 0 ? exchange->fd : 0;
        if (time_left_ms(exchange->deadline_ns) == 0)
            return failed(exchange, ETIMEDOUT, err);
        time_sleep_ms(RETRY_MS);
    }
}

static int send_all(const struct exchange *exchange, const char *text, size_t length,
                    struct error *err)
{
    while (length > 0) {
        ssize_t n = send(exchange->fd, text, length, MSG_NOSIGNAL | MSG_DONTWAIT);
        int r = n < 0 && errno == EAGAIN ? wait_for(exchange, POLLOUT) : n < 0 ? -errno : 0;
        if (r < 0 && r != -EINTR)
            return failed(exchange, -r, err);
        text += n > 0 ? n : 0;
        length -= n > 0 ? (size_t)n : 0;
    }
    return 0;
}

/* Descriptors go with the first byte. */
static int exchange_send(const struct exchange *exchange, const char *text, struct error *err)
{
    const struct http_call *call = exchange->call;
    size_t first = call->fd_count > 0 ? 1 : 0;
    if (first > 0 && descriptors_send(exchange->fd, text, 1, call->fds, call->fd_count) != 1)
        return failed(exchange, errno, err);
    return send_all(exchange, text + first, strlen(text) - first, err);
}

static int make_room(struct exchange *exchange)
{
    if (exchange->length + ANSWER_STEP < exchange->capacity)
        return 0;
    if (exchange->capacity >= ANSWER_LIMIT)
        return -EMSGSIZE;
    char *longer = realloc(exchange->answer, exchange->capacity + 2 * ANSWER_STEP);
    if (!longer)
        return -ENOMEM;
    exchange->answer = longer;
    exchange->capacity += 2 * ANSWER_STEP;
    return 0;
}

/* The bytes that are there: 1, 0 at the end, or a negative errno. */
static int receive_some(struct exchange *exchange)
{
    struct http_reply *reply = exchange->reply;
    size_t count = 0;
    bool too_many = false;
    ssize_t n = descriptors_receive(exchange->fd, exchange->answer + exchange->length, ANSWER_STEP,
                                    reply->fds + reply->fd_count,
                                    HTTP_MAX_DESCRIPTORS - reply->fd_count, &count, &too_many);
    if (n < 0)
        return errno == EAGAIN || errno == EINTR ? 1 : -errno;
    reply->fd_count += count;
    exchange->length += (size_t)n;
    return too_many ? -EPROTO : n > 0;
}

/* The connection is closed behind the answer. */
static int exchange_receive(struct exchange *exchange, struct error *err)
{
    int r;
    do {
        r = make_room(exchange);
        if (r == 0)
            r = wait_for(exchange, POLLIN);
        if (r == 0)
            r = receive_some(exchange);
    } while (r > 0);
    if (r < 0)
        failed(exchange, -r, err);
    else
        exchange->answer[exchange->length] = '\0';
    return r;
}

static int exchange_read(const struct exchange *exchange, struct error *err)
{
    int status = 0;
    const char *content = strstr(exchange->answer, "\r\n\r\n");
    if (!content || sscanf(exchange->answer, "HTTP/1.1 %3d", &status) != 1)
        return failed(exchange, exchange->length == 0 ? ECONNRESET : EPROTO, err);
    if (content[4]) {
        exchange->reply->body = strdup(content + 4);
        if (!exchange->reply->body)
            return failed(exchange, ENOMEM, err);
    }
    exchange->reply->status = status;
    return 0;
}

static char *call_text(const struct http_call *call)
{
    char *text = NULL;
    const char *body = call->body ? call->body : "";
    if (asprintf(&text, "%s %s HTTP/1.1\r\nConnection: close\r\nContent-Length: %zu\r\n\r\n%s",
                 call->method, call->path, strlen(body), body) < 0)
        return NULL;
    return text;
}

int http_call(const struct http_call *call, struct http_reply *reply, struct error *err)
{
    struct exchange exchange = {
        .call = call, .reply = reply, .fd = -1, .deadline_ns = time_after_ms(call->timeout_ms)};
    *reply = (struct http_reply){.status = 0};
    _cleanup_(free) char *text = call_text(call);
    if (!text)
        return failed(&exchange, ENOMEM, err);
    int r = exchange_connect(&exchange, err);
    if (r == 0)
        r = exchange_send(&exchange, text, err);
    if (r == 0)
        r = exchange_receive(&exchange, err);
    if (r == 0)
        r = exchange_read(&exchange, err);
    cleanup_close(&exchange.fd);
    free(exchange.answer);
    return r;
}

void http_reply_free(struct http_reply *reply)
{
    free(reply->body);
    reply->body = NULL;
    for (size_t i = 0; i < reply->fd_count; i++)
        cleanup_close(&reply->fds[i]);
    reply->fd_count = 0;
}
