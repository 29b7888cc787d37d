/* SPDX-License-Identifier: Apache-2.0 */
/* A VMM process from its launch until it answers, or until it has failed. */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/inotify.h>
#include <sys/socket.h>
#include <sys/stat.h>

#include "base/cleanup.h"
#include "base/clock.h"
#include "base/file.h"
#include "base/unix_socket.h"
#include "hypervisor/api_driver.h"
#include "hypervisor/dirty_log.h"
#include "hypervisor/process.h"
#include "hypervisor/vmm_log.h"

#define KILL_MS       10000
#define LAST_WORDS_MS 1000 /* a closed connection comes a little before the end of the process */
#define PAUSE_MAX_MS  32   /* between two looks at a socket that nobody announces */

void cleanup_attempt(struct attempt *attempt)
{
    cleanup_call(&attempt->call);
}

/* The VMM binds these two; left over from a process that was killed they would be in its way. */
static int remove_stale(int guest_fd, const struct vm_spec *spec, struct error *err)
{
    static const char *const names[] = {GUEST_API_SOCKET, GUEST_VSOCK_SOCKET};
    if (mkdirat(guest_fd, "run", 0700) < 0 && errno != EEXIST)
        return error_errno(err, errno, spec->guest_dir, "make %s/run", spec->guest_dir);
    for (size_t i = 0; i < ARRAY_SIZE(names); i++) {
        if (unlinkat(guest_fd, names[i], 0) < 0 && errno != ENOENT)
            return error_errno(err, errno, spec->guest_dir, "remove the stale socket %s/%s",
                               spec->guest_dir, names[i]);
    }
    return dirty_log_forget(guest_fd, spec->guest_dir, err);
}

/* 1 it listens, 0 not yet. A socket that refuses is bound but not listening yet. */
static int try_connect(const struct attempt *attempt, bool *bound, struct error *err)
{
    struct error cause = {0};
    int fd = unix_connect(attempt->call.socket, SOCK_NONBLOCK, &cause);
    if (fd >= 0)
        close(fd);
    *bound = fd != -ENOENT;
    if (fd >= 0 || fd == -EAGAIN)
        return 1;
    if (fd == -ENOENT || fd == -ECONNREFUSED)
        return 0;
    if (err)
        *err = cause;
    return fd;
}

/* Tells when something appears in run/. The number of such watches on a host is limited, and
 * without one it is only a little slower: -1. */
static int watch_run(const struct vm_spec *spec)
{
    char *run = NULL;
    _cleanup_(close) int fd = inotify_init1(IN_CLOEXEC | IN_NONBLOCK);
    if (fd < 0 || asprintf(&run, "%s/run", spec->guest_dir) < 0)
        return -1;
    int watch = inotify_add_watch(fd, run, IN_CREATE);
    free(run);
    return watch < 0 ? -1 : TAKE_FD(fd);
}

/* Until something has happened in run/, or `*pause_ms` are over: 1 the VMM has ended. Without an
 * announcement, and between bind and listen, it is looked at ever less often. */
static int pause_until(const struct attempt *attempt, int watch, bool bound, int left_ms,
                       int *pause_ms)
{
    struct pollfd fds[] = {{.fd = attempt->process.pidfd, .events = POLLIN},
                           {.fd = watch, .events = POLLIN}};
    bool announced = watch >= 0 && !bound;
    int wait_ms = announced || *pause_ms > left_ms ? left_ms : *pause_ms;
    if (poll(fds, 2, wait_ms) > 0 && fds[0].revents)
        return 1;
    char events[1024];
    ssize_t drained = fds[1].revents ? read(watch, events, sizeof(events)) : 0;
    (void)drained; /* whatever it was, the socket is looked at */
    if (!announced)
        *pause_ms = *pause_ms < PAUSE_MAX_MS ? *pause_ms * 2 : PAUSE_MAX_MS;
    return 0;
}

/* Notices a VMM that dies meanwhile at once. */
int attempt_wait(const struct attempt *attempt, struct error *err)
{
    uint64_t deadline = time_after_ms(attempt->self->ready_ms);
    _cleanup_(close) int watch = watch_run(attempt->spec);
    int pause_ms = 1;
    for (;;) {
        bool bound = false;
        int r = try_connect(attempt, &bound, err);
        if (r != 0)
            return r < 0 ? r : 0;
        int left_ms = time_left_ms(deadline);
        if (left_ms == 0)
            return error_set(err, ERROR_TIMEOUT, ETIMEDOUT, "VMM of %s does not listen after %u ms",
                             attempt->spec->id, attempt->self->ready_ms);
        if (pause_until(attempt, watch, bound, left_ms, &pause_ms) > 0)
            return error_set(err, ERROR_SYSTEM, ECONNRESET, "VMM of %s died at its start",
                             attempt->spec->id);
    }
}

int attempt_fail(struct attempt *attempt, int r, struct error *err)
{
    char how[64], tail[512];
    bool vanished = r == -ECONNRESET || r == -ECONNREFUSED || r == -ENOENT;
    if (vanished && process_wait_text(&attempt->process, LAST_WORDS_MS, how, NULL) > 0) {
        vmm_log_tail(attempt->spec->guest_dir, attempt->log_start, tail, sizeof(tail));
        char before[sizeof(err->message)];
        snprintf(before, sizeof(before), "%s", err ? err->message : "");
        error_set(err, ERROR_SYSTEM, -r, "%s: the VMM %s%s%s", before, how,
                  tail[0] ? "; its log ends: " : "", tail);
    }
    struct error kill_error = {0};
    if (vm_process_kill(&attempt->process, KILL_MS, &kill_error) < 0)
        error_wrap(err, "%s, after", kill_error.message);
    return r;
}

static int launch(struct attempt *attempt, void *context, struct error *err)
{
    (void)context;
    return attempt->self->variant->launch(attempt->self, attempt->spec, &attempt->process,
                                          &attempt->log_start, err);
}

static int begin_clean(struct attempt *attempt, attempt_begin *begin, void *context,
                       struct error *err)
{
    _cleanup_(close) int guest_fd = dir_open(AT_FDCWD, attempt->spec->guest_dir, err);
    if (guest_fd < 0)
        return guest_fd;
    int r = remove_stale(guest_fd, attempt->spec, err);
    return r < 0 ? r : begin(attempt, context, err);
}

int attempt_start(struct attempt *attempt, const struct hypervisor *self,
                  const struct vm_spec *spec, unsigned request_ms, struct error *err)
{
    int r = attempt_start_by(attempt, self, spec, launch, NULL, err);
    if (r < 0)
        return r;
    attempt->call.api.request_ms = request_ms;
    r = self->variant->identify(self, &attempt->call.api, true, &attempt->abilities, err);
    return r < 0 ? attempt_fail(attempt, r, err) : 0;
}

int attempt_start_by(struct attempt *attempt, const struct hypervisor *self,
                     const struct vm_spec *spec, attempt_begin *begin, void *context,
                     struct error *err)
{
    *attempt = (struct attempt){.self = self, .spec = spec, .process.pidfd = -1};
    int r = call_init(&attempt->call, spec, self->request_ms, err);
    if (r == 0)
        r = begin_clean(attempt, begin, context, err);
    if (r < 0)
        return r;
    r = attempt_wait(attempt, err);
    return r < 0 ? attempt_fail(attempt, r, err) : 0;
}
