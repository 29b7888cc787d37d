/* SPDX-License-Identifier: Apache-2.0 */
#include "vmm/api/own_process.h"

#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/mount.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/log.h"
#include "vmm/api/host_file.h"

#define FIRST_FD (STDERR_FILENO + 1)

int own_process_mount(struct own_process *process, struct http_descriptors *descriptors,
                      const char *what, struct error *err)
{
    if (descriptors->count != (process->mount_point ? 1 : 0))
        return error_set(err, ERROR_INVALID, EINVAL,
                         "%s: %zu descriptors came with the request; with a mount_point it is one, "
                         "of the mount, and else none",
                         what, descriptors->count);
    if (process->mount_point)
        process->mount_fd = TAKE_FD(descriptors->fds[0]);
    return 0;
}

/* The other process's sockets, eventfds and devices: fork(2) does not close what an exec would. */
static int descriptors_close(struct own_process *process, struct error *err)
{
    log_set_fd(STDERR_FILENO);
    unsigned first = FIRST_FD;
    if (process->mount_fd >= 0) {
        if (process->mount_fd != FIRST_FD && dup3(process->mount_fd, FIRST_FD, O_CLOEXEC) < 0)
            return error_errno(err, errno, NULL, "move a descriptor");
        process->mount_fd = FIRST_FD;
        first++;
    }
    return close_range(first, ~0u, 0) < 0 ? error_errno(err, errno, NULL, "close descriptors") : 0;
}

static int signals_reset(struct error *err)
{
    const struct sigaction ignore = {.sa_handler = SIG_IGN};
    sigset_t none;
    sigemptyset(&none);
    if (sigaction(SIGCHLD, &ignore, NULL) < 0 || sigprocmask(SIG_SETMASK, &none, NULL) < 0)
        return error_errno(err, errno, NULL, "reset signals");
    return 0;
}

/* Nothing that is mounted in here may be seen elsewhere. Where nothing lies on the mount point, or
 * what does is not ours to take away, the new mount covers it. */
static int mount_own(struct own_process *process, struct error *err)
{
    const char *point = process->mount_point;
    if (unshare(CLONE_NEWNS) < 0)
        return error_errno(err, errno, NULL, "make a mount namespace");
    if (mount("none", "/", NULL, MS_REC | MS_PRIVATE, NULL) < 0)
        return error_errno(err, errno, "/", "make mounts private");
    (void)umount2(point, MNT_DETACH);
    if (move_mount(process->mount_fd, "", AT_FDCWD, point, MOVE_MOUNT_F_EMPTY_PATH) < 0)
        return error_errno(err, errno, point, "mount what came with the request on %s", point);
    /* It comes with the peer group of where it was made. */
    if (mount("none", point, NULL, MS_REC | MS_PRIVATE, NULL) < 0)
        return error_errno(err, errno, point, "make %s private", point);
    if (chdir(point) < 0)
        return error_errno(err, errno, point, "enter %s", point);
    close(TAKE_FD(process->mount_fd));
    return 0;
}

/* Standard error is the log, so that what the C library says there is in it as well. */
static int log_begin(const struct own_process *process, struct error *err)
{
    if (!process->log_path)
        return 0;
    _cleanup_(close) int fd = host_output_open(process->log_path, "log_path", err);
    if (fd < 0)
        return fd;
    return dup2(fd, STDERR_FILENO) < 0
               ? error_errno(err, errno, process->log_path, "log to %s", process->log_path)
               : 0;
}

int own_process_begin(struct own_process *process, struct error *err)
{
    int r = descriptors_close(process, err);
    if (r == 0)
        r = signals_reset(err);
    if (r < 0)
        return r;
    (void)setsid(); /* fails only for one that leads a session already */
    if (process->mount_fd >= 0)
        r = mount_own(process, err);
    return r < 0 ? r : log_begin(process, err);
}

void own_process_free(struct own_process *process)
{
    free(process->log_path);
    free(process->mount_point);
    cleanup_close(&process->mount_fd);
    *process = (struct own_process){.mount_fd = -1};
}
