/* SPDX-License-Identifier: Apache-2.0 */
#include "agent/stream.h"

#include <errno.h>
#include <limits.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/clock.h"

int stream_wait(int fd, short events, uint64_t deadline_ns)
{
    for (;;) {
        int timeout = deadline_ns != 0 ? time_left_ms(deadline_ns) : -1;
        struct pollfd pollfd = {.fd = fd, .events = events};
        int n = poll(&pollfd, 1, timeout);
        if (n > 0)
            return 0;
        if (n == 0 && timeout != INT_MAX)
            return -ETIMEDOUT;
        if (n < 0 && errno != EINTR)
            return -errno;
    }
}

int stream_read(int fd, void *buffer, size_t length, uint64_t deadline_ns, size_t *done)
{
    *done = 0;
    while (*done < length) {
        /* A descriptor that blocks would outlive the deadline inside read(2). */
        int r = deadline_ns != 0 ? stream_wait(fd, POLLIN, deadline_ns) : 0;
        if (r < 0)
            return r;
        ssize_t n = read(fd, (char *)buffer + *done, length - *done);
        if (n == 0)
            return 0;
        if (n > 0) {
            *done += (size_t)n;
            continue;
        }
        if (errno == EAGAIN)
            r = stream_wait(fd, POLLIN, deadline_ns);
        else if (errno != EINTR)
            r = -errno;
        if (r < 0)
            return r;
    }
    return 0;
}

static ssize_t write_some(int fd, struct iovec parts[2], uint64_t deadline_ns)
{
    struct msghdr message = {.msg_iov = parts, .msg_iovlen = 2};
    ssize_t n = sendmsg(fd, &message, MSG_NOSIGNAL | (deadline_ns != 0 ? MSG_DONTWAIT : 0));
    if (n < 0 && errno == ENOTSOCK)
        n = writev(fd, parts, 2);
    return n;
}

int stream_write(int fd, struct iovec parts[2], uint64_t deadline_ns)
{
    while (parts[0].iov_len + parts[1].iov_len > 0) {
        ssize_t n = write_some(fd, parts, deadline_ns);
        if (n < 0 && errno != EAGAIN && errno != EINTR)
            return -errno;
        if (n < 0 && errno == EAGAIN) {
            int r = stream_wait(fd, POLLOUT, deadline_ns);
            if (r < 0)
                return r;
        }
        size_t written = n > 0 ? (size_t)n : 0;
        for (int i = 0; i < 2; i++) {
            size_t taken = written < parts[i].iov_len ? written : parts[i].iov_len;
            parts[i].iov_base = (char *)parts[i].iov_base + taken;
            parts[i].iov_len -= taken;
            written -= taken;
        }
    }
    return 0;
}
