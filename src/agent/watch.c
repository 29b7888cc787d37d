/* SPDX-License-Identifier: Apache-2.0 */
#include "agent/watch.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "agent/connect.h"
#include "base/cleanup.h"
#include "base/unix_socket.h"

#define NAME "watch the program"

/* So little fits any socket's buffer: what does not go out whole never will. */
static int send_whole(int fd, const void *data, size_t length, struct error *err)
{
    ssize_t n = send(fd, data, length, MSG_NOSIGNAL | MSG_DONTWAIT);
    if (n == (ssize_t)length)
        return 0;
    return error_errno(err, n < 0 ? errno : EIO, NULL, NAME);
}

static int send_empty(int fd, uint8_t type, struct error *err)
{
    uint8_t header[AGENT_FRAME_HEADER];
    agent_header_encode(header, type, 0);
    return send_whole(fd, header, sizeof(header), err);
}

int agent_watch_open(struct agent_watch *watch, const char *vsock_path, struct error *err)
{
    char line[VSOCK_LINE_LIMIT];
    int length = snprintf(line, sizeof(line), "CONNECT %u\n", AGENT_PORT);
    *watch = (struct agent_watch){.fd = -1};
    _cleanup_(close) int fd = unix_connect(vsock_path, SOCK_NONBLOCK, err);
    if (fd < 0)
        return fd;
    int r = send_whole(fd, line, (size_t)length, err);
    if (r < 0)
        return r;
    watch->fd = TAKE_FD(fd);
    return 0;
}

/* Reads on to `wanted` bytes: 1 they are there, 0 not yet. */
static int fill(struct agent_watch *watch, uint8_t *data, size_t wanted, struct error *err)
{
    while (watch->length < wanted) {
        ssize_t n = recv(watch->fd, data + watch->length, wanted - watch->length, MSG_DONTWAIT);
        if (n < 0 && (errno == EAGAIN || errno == EINTR))
            return 0;
        if (n <= 0)
            return error_errno(err, n < 0 ? errno : ECONNRESET, NULL, NAME);
        watch->length += (size_t)n;
    }
    return 1;
}

static void next_stage(struct agent_watch *watch, enum agent_watch_stage stage)
{
    watch->stage = stage;
    watch->length = 0;
}

static int broken(struct error *err)
{
    return error_set(err, ERROR_CORRUPT, EPROTO, NAME ": the guest breaks the protocol");
}

/* Byte by byte: what follows the newline is the guest's. */
static int take_line(struct agent_watch *watch, struct error *err)
{
    int r;
    while ((r = fill(watch, watch->data, watch->length + 1, err)) > 0) {
        if (watch->data[watch->length - 1] == '\n')
            break;
        if (watch->length == VSOCK_LINE_LIMIT)
            return broken(err);
    }
    if (r <= 0)
        return r;
    watch->data[watch->length - 1] = '\0';
    if (!vsock_line_ok((const char *)watch->data))
        return broken(err);
    next_stage(watch, AGENT_WATCH_HEADER);
    r = send_empty(watch->fd, AGENT_WATCH, err);
    return r < 0 ? r : 1;
}

static int take_header(struct agent_watch *watch, struct error *err)
{
    int r = fill(watch, watch->header, sizeof(watch->header), err);
    if (r <= 0)
        return r;
    if (agent_header_decode(watch->header, &watch->frame.type, &watch->frame.length) < 0 ||
        watch->frame.length > sizeof(watch->data))
        return broken(err);
    watch->frame.payload = watch->data;
    next_stage(watch, AGENT_WATCH_PAYLOAD);
    return 1;
}

static int refused(const struct agent_frame *frame, struct error *err)
{
    struct agent_failure failure;
    if (agent_failure_parse(&failure, frame) < 0)
        return broken(err);
    int r = agent_failure_error(&failure, err);
    error_wrap(err, NAME);
    return r;
}

static int take_payload(struct agent_watch *watch, struct agent_exit *outcome, struct error *err)
{
    int r = fill(watch, watch->data, watch->frame.length, err);
    if (r <= 0)
        return r;
    if (watch->frame.type == AGENT_FAILED)
        return refused(&watch->frame, err);
    bool told = watch->frame.type == AGENT_EXIT && agent_exit_parse(outcome, &watch->frame) == 0;
    return told ? 1 : broken(err);
}

int agent_watch_take(struct agent_watch *watch, struct agent_exit *outcome, struct error *err)
{
    int r = 1;
    if (watch->stage == AGENT_WATCH_LINE)
        r = take_line(watch, err);
    if (r > 0 && watch->stage == AGENT_WATCH_HEADER)
        r = take_header(watch, err);
    if (r > 0)
        r = take_payload(watch, outcome, err);
    return r;
}

int agent_watch_taken(struct agent_watch *watch, struct error *err)
{
    return send_empty(watch->fd, AGENT_TAKEN, err);
}

void agent_watch_close(struct agent_watch *watch)
{
    if (watch->fd >= 0)
        close(TAKE_FD(watch->fd));
}
