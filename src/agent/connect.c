/* SPDX-License-Identifier: Apache-2.0 */
#include "agent/connect.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>

#include "agent/client.h"
#include "agent/protocol.h"
#include "agent/stream.h"
#include "base/cleanup.h"
#include "base/clock.h"
#include "base/unix_socket.h"

#define BACKOFF_FIRST_MS 5u
#define BACKOFF_LAST_MS  100u
#define TRY_FIRST_MS     1000u /* how long the first try waits for its OK line ... */
#define TRY_LAST_MS      8000u /* ... and the later ones: a slow guest gets there in the end */

void backoff_sleep(struct backoff *backoff, uint64_t deadline_ns)
{
    if (backoff->next_ms == 0)
        backoff->next_ms = BACKOFF_FIRST_MS;
    unsigned left_ms = (unsigned)time_left_ms(deadline_ns);
    time_sleep_ms(backoff->next_ms < left_ms ? backoff->next_ms : left_ms);
    backoff->next_ms *= 2;
    if (backoff->next_ms > BACKOFF_LAST_MS)
        backoff->next_ms = BACKOFF_LAST_MS;
}

/* The VMM's parser wants the whole line in one piece. A line this short fits any socket buffer. */
static int send_connect(int fd, const char *path, unsigned port, struct error *err)
{
    char line[VSOCK_LINE_LIMIT];
    int length = snprintf(line, sizeof(line), "CONNECT %u\n", port);
    ssize_t n;
    do {
        n = send(fd, line, (size_t)length, MSG_NOSIGNAL);
    } while (n < 0 && errno == EINTR);
    if (n < 0)
        return error_errno(err, errno, path, "connect to guest port %u by %s", port, path);
    if (n != length)
        return error_errno(err, EIO, path, "connect to guest port %u by %s", port, path);
    return 0;
}

/* "OK <decimal>" and nothing else. */
bool vsock_line_ok(const char *line)
{
    if (strncmp(line, "OK ", 3) != 0)
        return false;
    size_t digits = strspn(line + 3, "0123456789");
    return digits > 0 && line[3 + digits] == '\0';
}

/* Reads the answer to its newline and not a byte further: the guest's data may follow at once. */
static int read_ok(int fd, const char *path, uint64_t deadline_ns, struct error *err)
{
    char line[VSOCK_LINE_LIMIT];
    for (size_t length = 0; length < sizeof(line); length++) {
        size_t done = 0;
        int r = stream_read(fd, line + length, 1, deadline_ns, &done);
        if (r == -ETIMEDOUT)
            return error_set(err, ERROR_TIMEOUT, ETIMEDOUT, "%s: no answer from the guest yet",
                             path);
        if (r < 0)
            return error_errno(err, -r, path, "read the answer to CONNECT from %s", path);
        if (done == 0)
            return error_set(err, ERROR_SYSTEM, ECONNREFUSED,
                             "%s: the guest refuses, nobody listens there", path);
        if (line[length] != '\n')
            continue;
        line[length] = '\0';
        if (vsock_line_ok(line))
            return 0;
        break;
    }
    return error_set(err, ERROR_CORRUPT, EPROTO, "%s: not an answer to CONNECT", path);
}

/* Failures that end by themselves when the VMM or the guest gets further. */
static bool is_passing(int errnum)
{
    static const int passing[] = {ENOENT, ECONNREFUSED, EAGAIN, ECONNRESET, EPIPE, ETIMEDOUT};
    for (size_t i = 0; i < ARRAY_SIZE(passing); i++) {
        if (errnum == passing[i])
            return true;
    }
    return false;
}

static int vsock_try(const char *path, unsigned port, uint64_t deadline_ns, struct error *err)
{
    /* Not blocking: with a full backlog connect(2) would wait beyond every deadline. */
    _cleanup_(close) int fd = unix_connect(path, SOCK_NONBLOCK, err);
    if (fd < 0)
        return fd;
    int r = send_connect(fd, path, port, err);
    if (r == 0)
        r = read_ok(fd, path, deadline_ns, err);
    if (r < 0)
        return r;
    int flags = fcntl(fd, F_GETFL);
    if (flags < 0 || fcntl(fd, F_SETFL, flags & ~O_NONBLOCK) < 0)
        return error_errno(err, errno, path, "make the connection to %s blocking", path);
    return TAKE_FD(fd);
}

int vsock_connect_once(const char *vsock_path, unsigned port, uint64_t deadline_ns, bool *again,
                       struct error *err)
{
    int fd = vsock_try(vsock_path, port, deadline_ns, err);
    *again = fd < 0 && is_passing(-fd);
    return fd;
}

/* The end of one try: `step_ms` from now, the whole deadline at the latest. */
static uint64_t try_deadline(unsigned step_ms, uint64_t deadline_ns)
{
    uint64_t end = time_after_ms(step_ms);
    return end < deadline_ns ? end : deadline_ns;
}

int vsock_connect_until(const char *vsock_path, unsigned port, uint64_t deadline_ns,
                        struct error *err)
{
    struct backoff backoff = {0};
    struct error last = {0};
    for (unsigned step_ms = TRY_FIRST_MS;;) {
        bool again = false;
        int fd =
            vsock_connect_once(vsock_path, port, try_deadline(step_ms, deadline_ns), &again, &last);
        if (fd >= 0)
            return fd;
        if (!again) {
            if (err)
                *err = last;
            return fd;
        }
        if (time_monotonic_ns() >= deadline_ns)
            break;
        if (fd == -ETIMEDOUT && step_ms < TRY_LAST_MS)
            step_ms *= 2;
        backoff_sleep(&backoff, deadline_ns);
    }
    error_set(err, ERROR_TIMEOUT, ETIMEDOUT, "the guest's agent was not reached in time: %s",
              last.message);
    if (err)
        snprintf(err->path, sizeof(err->path), "%s", vsock_path);
    return -ETIMEDOUT;
}

int agent_connect(const char *vsock_path, unsigned timeout_ms, struct error *err)
{
    return vsock_connect_until(vsock_path, AGENT_PORT, time_after_ms(timeout_ms), err);
}
