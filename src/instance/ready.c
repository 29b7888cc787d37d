/* SPDX-License-Identifier: Apache-2.0 */
#include "instance/ready.h"

#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <sys/socket.h>

#include "agent/protocol.h"
#include "base/clock.h"
#include "base/unix_socket.h"
#include "instance/console.h"

#define STRINGIFY_(x) #x
#define STRINGIFY(x)  STRINGIFY_(x)

/* What the guest's connections have sent so far: one at a time, only the frame's header counts. */
struct report {
    int fd;
    size_t length;
    uint8_t header[AGENT_FRAME_HEADER];
};

int ready_listen(const struct operation *op, struct ready *ready, struct error *err)
{
    char name[64];
    snprintf(name, sizeof(name), "%s_%u", GUEST_VSOCK_SOCKET, AGENT_READY_PORT);
    ready->path = operation_path(op, name);
    if (!ready->path)
        return error_errno(err, ENOMEM, op->guest_dir, "listen for the agent of %s",
                           op->record.name);
    int fd = unix_listen(ready->path, SOCK_NONBLOCK, err);
    if (fd < 0) {
        free(TAKE_PTR(ready->path)); /* not ours to remove */
        return fd;
    }
    ready->fd = fd;
    return 0;
}

void cleanup_ready(struct ready *ready)
{
    if (ready->fd >= 0)
        close(ready->fd);
    if (ready->path)
        unlink(ready->path);
    free(ready->path);
    *ready = (struct ready){.fd = -1};
}

static void report_close(struct report *report)
{
    if (report->fd >= 0)
        close(report->fd);
    *report = (struct report){.fd = -1};
}

/* A newer connection takes the place of an older one that has not said enough. */
static void report_accept(struct report *report, int listener)
{
    int fd = accept4(listener, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
    if (fd < 0)
        return;
    report_close(report);
    report->fd = fd;
}

/* True once a whole header of the answer to HELLO is there. */
static bool report_read(struct report *report)
{
    ssize_t n =
        read(report->fd, report->header + report->length, sizeof(report->header) - report->length);
    if (n < 0 && (errno == EAGAIN || errno == EINTR))
        return false;
    if (n <= 0) {
        report_close(report);
        return false;
    }
    report->length += (size_t)n;
    if (report->length < sizeof(report->header))
        return false;
    bool ok = report->header[4] == AGENT_OK || report->header[4] == AGENT_HELLO;
    report_close(report);
    return ok;
}

static int ended(const struct operation *op, struct error *err)
{
    struct console_line line = console_last_line(op);
    return error_set(err, ERROR_SYSTEM, ECONNRESET,
                     "the guest of %s ended before its agent was ready%s%s", op->record.name,
                     line.text[0] ? "; its " CONSOLE_ENDS : "", line.text);
}

static int timed_out(const struct operation *op, unsigned timeout_ms, struct error *err)
{
    struct console_line line = console_last_line(op);
    return error_set(err, ERROR_TIMEOUT, ETIMEDOUT,
                     "the agent of %s did not report within %u ms%s%s", op->record.name, timeout_ms,
                     line.text[0] ? "; the guest's " CONSOLE_ENDS : "", line.text);
}

/* 1: something happened; 0: time is over. */
static int wait_event(struct pollfd fds[3], uint64_t deadline_ns, struct error *err)
{
    int left_ms;
    while ((left_ms = time_left_ms(deadline_ns)) > 0) {
        int r = poll(fds, 3, left_ms);
        if (r > 0)
            return 1;
        if (r < 0 && errno != EINTR)
            return error_errno(err, errno, NULL, "wait for the guest's agent");
    }
    return 0;
}

int ready_wait(const struct operation *op, struct ready *ready, const struct vm_process *process,
               unsigned timeout_ms, struct error *err)
{
    struct report report = {.fd = -1};
    uint64_t deadline = time_after_ms(timeout_ms);
    bool done = false;
    int r = 0;
    while (!done && r == 0) {
        struct pollfd fds[3] = {{.fd = ready->fd, .events = POLLIN},
                                {.fd = process->pidfd, .events = POLLIN},
                                {.fd = report.fd, .events = POLLIN}};
        r = wait_event(fds, deadline, err);
        if (r <= 0) {
            r = r < 0 ? r : timed_out(op, timeout_ms, err);
            break;
        }
        r = 0;
        if (fds[2].revents)
            done = report_read(&report);
        if (!done && fds[0].revents)
            report_accept(&report, ready->fd);
        else if (!done && fds[1].revents)
            r = ended(op, err);
    }
    report_close(&report);
    return r;
}
