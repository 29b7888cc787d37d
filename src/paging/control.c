/* SPDX-License-Identifier: Apache-2.0 */
#include "paging/control.h"

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

#define CALL_MS      10000u
#define RETRY_MS     2u
#define ANSWER_LIMIT (16u << 20)
#define ANSWER_STEP  (64u << 10)

/* One request under way. */
struct call {
    const struct control_request *request;
    struct control_reply *reply;
    int fd;
    uint64_t deadline_ns;
    char *answer;
    size_t length, capacity;
};

static int failed(const struct call *call, int errnum, struct error *err)
{
    const struct control_request *request = call->request;
    if (errnum == ETIMEDOUT)
        return error_set(err, ERROR_TIMEOUT, ETIMEDOUT, "pager %s: %s %s: no answer in %u s",
                         request->socket, request->method, request->path, CALL_MS / 1000);
    return error_errno(err, errnum, request->socket, "pager %s: %s %s", request->socket,
                       request->method, request->path);
}

static int left_ms(const struct call *call)
{
    uint64_t now = time_monotonic_ns();
    return now >= call->deadline_ns ? 0 : (int)((call->deadline_ns - now) / 1000000u) + 1;
}

/* 0: ready, or a negative errno. */
static int wait_for(const struct call *call, short events)
{
    struct pollfd fd = {.fd = call->fd, .events = events};
    for (;;) {
        int left = left_ms(call);
        int n = left > 0 ? poll(&fd, 1, left) : 0;
        if (n > 0)
            return 0;
        if (n == 0)
            return -ETIMEDOUT;
        if (errno != EINTR)
            return -errno;
    }
}

/* A pager that has many connections lets the others wait in its queue. */
static int call_connect(struct call *call, struct error *err)
{
    for (;;) {
        call->fd = unix_connect(call->request->socket, SOCK_NONBLOCK, err);
        if (call->fd != -EAGAIN)
            return call->fd < 0 ? call->fd : 0;
        if (left_ms(call) == 0)
            return failed(call, ETIMEDOUT, err);
        time_sleep_ms(RETRY_MS);
    }
}

static int send_all(const struct call *call, const char *text, size_t length, struct error *err)
{
    while (length > 0) {
        ssize_t n = send(call->fd, text, length, MSG_NOSIGNAL | MSG_DONTWAIT);
        int r = n < 0 && errno == EAGAIN ? wait_for(call, POLLOUT) : n < 0 ? -errno : 0;
        if (r < 0 && r != -EINTR)
            return failed(call, -r, err);
        text += n > 0 ? n : 0;
        length -= n > 0 ? (size_t)n : 0;
    }
    return 0;
}

/* Descriptors go with the first byte. */
static int call_send(const struct call *call, const char *text, struct error *err)
{
    const struct control_request *request = call->request;
    size_t first = request->fd_count > 0 ? 1 : 0;
    if (first > 0 && descriptors_send(call->fd, text, 1, request->fds, request->fd_count) != 1)
        return failed(call, errno, err);
    return send_all(call, text + first, strlen(text) - first, err);
}

static int make_room(struct call *call, struct error *err)
{
    if (call->length + ANSWER_STEP < call->capacity)
        return 0;
    char *longer = call->capacity < ANSWER_LIMIT
                       ? realloc(call->answer, call->capacity + 2 * ANSWER_STEP)
                       : NULL;
    if (!longer)
        return failed(call, call->capacity < ANSWER_LIMIT ? ENOMEM : EMSGSIZE, err);
    call->answer = longer;
    call->capacity += 2 * ANSWER_STEP;
    return 0;
}

/* The bytes that are there: 1, 0 at the end, or a negative errno. */
static int receive_some(struct call *call)
{
    struct control_reply *reply = call->reply;
    size_t count = 0;
    bool too_many = false;
    ssize_t n = descriptors_receive(call->fd, call->answer + call->length, ANSWER_STEP,
                                    reply->fds + reply->fd_count,
                                    CONTROL_DESCRIPTORS - reply->fd_count, &count, &too_many);
    if (n < 0)
        return errno == EAGAIN || errno == EINTR ? 1 : -errno;
    reply->fd_count += count;
    call->length += (size_t)n;
    return too_many ? -EPROTO : n > 0;
}

/* The connection is closed behind the answer. */
static int call_receive(struct call *call, struct error *err)
{
    for (;;) {
        int r = make_room(call, err);
        if (r < 0)
            return r;
        r = wait_for(call, POLLIN);
        if (r == 0)
            r = receive_some(call);
        if (r < 0)
            return failed(call, -r, err);
        if (r == 0)
            break;
    }
    call->answer[call->length] = '\0';
    return 0;
}

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

static int fault(const struct call *call, struct error *err)
{
    const json_t *body = call->reply->body;
    const char *message = json_string_value(json_object_get(body, "fault_message"));
    const char *name = json_string_value(json_object_get(body, "errno"));
    int errnum = name ? errno_number(name) : 0;
    return error_set(err, code_of(call->reply->status), errnum > 0 ? errnum : EREMOTEIO,
                     "pager: %s %s: %s", call->request->method, call->request->path,
                     message ? message : "refused");
}

static int call_read(const struct call *call, struct error *err)
{
    int status = 0;
    const char *content = strstr(call->answer, "\r\n\r\n");
    if (!content || sscanf(call->answer, "HTTP/1.1 %3d", &status) != 1)
        return failed(call, call->length == 0 ? ECONNRESET : EPROTO, err);
    if (content[4])
        call->reply->body = json_loads(content + 4, 0, NULL);
    if (content[4] && !call->reply->body)
        return failed(call, EPROTO, err);
    call->reply->status = status;
    return status == 200 || status == 204 ? 0 : fault(call, err);
}

static char *request_text(const struct control_request *request)
{
    char *text = NULL;
    _cleanup_(free) char *body = request->body ? json_dumps(request->body, JSON_COMPACT) : NULL;
    if ((request->has_body && !body) ||
        asprintf(&text, "%s %s HTTP/1.1\r\nConnection: close\r\nContent-Length: %zu\r\n\r\n%s",
                 request->method, request->path, body ? strlen(body) : 0, body ? body : "") < 0)
        return NULL;
    return text;
}

int control_call(const struct control_request *request, struct control_reply *reply,
                 struct error *err)
{
    struct call call = {.request = request,
                        .reply = reply,
                        .fd = -1,
                        .deadline_ns = time_monotonic_ns() + CALL_MS * 1000000ull};
    *reply = (struct control_reply){.fds = {-1, -1}};
    _cleanup_(free) char *text = request_text(request);
    json_decref(request->body);
    if (!text)
        return failed(&call, ENOMEM, err);
    int r = call_connect(&call, err);
    if (r == 0)
        r = call_send(&call, text, err);
    if (r == 0)
        r = call_receive(&call, err);
    if (r == 0)
        r = call_read(&call, err);
    cleanup_close(&call.fd);
    free(call.answer);
    return r;
}

void control_reply_free(struct control_reply *reply)
{
    json_decref(reply->body);
    reply->body = NULL;
    for (size_t i = 0; i < reply->fd_count; i++)
        close(reply->fds[i]);
    reply->fd_count = 0;
}
