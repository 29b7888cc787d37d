/* SPDX-License-Identifier: Apache-2.0 */
#include "hypervisor/process.h"

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/pidfd.h>
#include <sys/wait.h>

#include "base/cleanup.h"
#include "base/clock.h"
#include "base/proc_stat.h"

/* 1 it is that very process, be it a zombie; 0 it is gone; negative errno if that can't be told
 * (R6).
 */
static int is_same(const struct vm_process *process)
{
    struct proc_stat stat = {0};
    int r = proc_stat(process->pid, &stat, NULL);
    if (r == -ENOENT || r == -ESRCH)
        return 0;
    if (r < 0)
        return r;
    return stat.start_ticks == process->start_ticks && stat.state != 'X';
}

/* A pidfd of that very process: the pid is turned into a descriptor first and looked at then, so
 * that it can't be reused in between. A zombie is opened, too, so that it can be reaped. -ESRCH: it
 * is gone. */
static int process_open(const struct vm_process *process)
{
    if (process->pid <= 0)
        return -ESRCH;
    _cleanup_(close) int pidfd = pidfd_open(process->pid, 0);
    int saved = errno;
    if (pidfd < 0 && saved == ESRCH)
        return -ESRCH;
    /* Looked at even so: of a thread that has the number by now no pidfd can be had. */
    int r = is_same(process);
    if (r == 0)
        return -ESRCH;
    if (r < 0)
        return r;
    return pidfd < 0 ? -saved : TAKE_FD(pidfd);
}

int process_adopt_child(pid_t pid, struct vm_process *process, struct error *err)
{
    _cleanup_(close) int pidfd = pidfd_open(pid, 0);
    if (pidfd < 0)
        return error_errno(err, errno, NULL, "open the VMM process %d", pid);
    struct proc_stat stat = {0};
    int r = proc_stat(pid, &stat, err);
    if (r < 0)
        return r;
    *process =
        (struct vm_process){.pid = pid, .pidfd = TAKE_FD(pidfd), .start_ticks = stat.start_ticks};
    return 0;
}

/* Reaps it where it is our child; ECHILD says that it isn't, or is reaped already. */
static void process_reap(int pidfd, char text[64])
{
    siginfo_t info = {.si_pid = 0};
    snprintf(text, 64, "ended");
    if (waitid(P_PIDFD, (id_t)pidfd, &info, WEXITED | WNOHANG) < 0 || info.si_pid == 0)
        return;
    if (info.si_code == CLD_EXITED)
        snprintf(text, 64, "exited with status %d", info.si_status);
    else
        snprintf(text, 64, "was killed by signal %d (%s)", info.si_status,
                 sigabbrev_np(info.si_status) ? sigabbrev_np(info.si_status) : "?");
}

/* 1 ended, 0 timed out. A pidfd is readable once all threads have ended (pidfd_open(2)). */
static int pidfd_wait(int pidfd, unsigned timeout_ms, struct error *err)
{
    uint64_t deadline = time_after_ms(timeout_ms);
    for (;;) {
        int left_ms = time_left_ms(deadline);
        struct pollfd poll_fd = {.fd = pidfd, .events = POLLIN};
        int r = poll(&poll_fd, 1, left_ms);
        if (r > 0)
            return 1;
        if (r < 0 && errno != EINTR)
            return error_errno(err, errno, NULL, "wait for a VMM process");
        if (r == 0 && left_ms == 0)
            return 0;
    }
}

int process_wait_text(const struct vm_process *process, unsigned timeout_ms, char text[64],
                      struct error *err)
{
    snprintf(text, 64, "ended");
    _cleanup_(close) int opened = -1;
    int pidfd = process->pidfd;
    if (pidfd < 0) {
        opened = process_open(process);
        if (opened == -ESRCH)
            return 1;
        if (opened < 0)
            return error_errno(err, -opened, NULL, "open the VMM process %d", process->pid);
        pidfd = opened;
    }
    int r = pidfd_wait(pidfd, timeout_ms, err);
    if (r > 0)
        process_reap(pidfd, text);
    return r;
}

int vm_process_wait(const struct vm_process *process, unsigned timeout_ms, struct error *err)
{
    char text[64];
    return process_wait_text(process, timeout_ms, text, err);
}

static void process_close(struct vm_process *process)
{
    if (process->pidfd >= 0)
        close(process->pidfd);
    process->pidfd = -1;
}

bool vm_process_alive(struct vm_process *process)
{
    bool opened = process->pidfd < 0;
    if (opened) {
        int pidfd = process_open(process);
        if (pidfd == -ESRCH)
            return false;
        if (pidfd < 0)
            return true; /* not proven gone */
        process->pidfd = pidfd;
    }
    bool alive = vm_process_wait(process, 0, NULL) <= 0;
    if (opened && !alive)
        process_close(process);
    return alive;
}

int vm_process_kill(struct vm_process *process, unsigned timeout_ms, struct error *err)
{
    if (process->pidfd < 0) {
        int pidfd = process_open(process);
        if (pidfd == -ESRCH)
            return 0;
        if (pidfd < 0)
            return error_errno(err, -pidfd, NULL, "open the VMM process %d", process->pid);
        process->pidfd = pidfd;
    }
    if (pidfd_send_signal(process->pidfd, SIGKILL, NULL, 0) < 0 && errno != ESRCH)
        return error_errno(err, errno, NULL, "kill the VMM process %d", process->pid);
    int r = vm_process_wait(process, timeout_ms, err);
    if (r == 0)
        return error_set(err, ERROR_TIMEOUT, ETIMEDOUT,
                         "the VMM process %d is still there %u ms after SIGKILL", process->pid,
                         timeout_ms);
    if (r > 0)
        process_close(process);
    return r < 0 ? r : 0;
}
