/* SPDX-License-Identifier: Apache-2.0 */
#include "paging/process.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/pidfd.h>
#include <sys/stat.h>
#include <sys/wait.h>

#include "base/cleanup.h"
#include "base/clock.h"
#include "base/file.h"
#include "base/log_file.h"
#include "base/spawn.h"
#include "paging/control.h"

#define READY_MS  10000u
#define LOG_LIMIT (4u << 20)

char *pager_socket_path(const char *run_dir, const char *version)
{
    char *path = NULL;
    return asprintf(&path, "%s/pager/%s/control.sock", run_dir, version) < 0 ? NULL : path;
}

bool pager_process_lives(const struct pager_process *process)
{
    struct pollfd end = {.fd = process->pidfd, .events = POLLIN};
    if (process->pidfd < 0)
        return false;
    if (poll(&end, 1, 0) == 0)
        return true;
    siginfo_t info; /* ECHILD: it is somebody else's child */
    (void)waitid(P_PIDFD, (id_t)process->pidfd, &info, WEXITED | WNOHANG);
    return false;
}

int pager_process_program(const struct pager_process *process)
{
    char path[32];
    snprintf(path, sizeof(path), "/proc/%d/exe", process->pid);
    _cleanup_(close) int fd = open(path, O_RDONLY | O_CLOEXEC);
    /* If it lives, the pid was its own. */
    return fd >= 0 && pager_process_lives(process) ? TAKE_FD(fd) : -1;
}

void pager_process_close(struct pager_process *process)
{
    if (process->pidfd >= 0)
        close(process->pidfd);
    *process = (struct pager_process){.pidfd = -1};
}

/* ---- one that runs ---- */

/* 1: it is well, 0: nobody answers. */
static int ask_health(const char *socket, const char *version, struct pager_process *process,
                      struct error *err)
{
    const struct control_request request = {.socket = socket, .method = "GET", .path = "/health"};
    _cleanup_(control_reply) struct control_reply reply;
    const char *status = NULL, *found = NULL;
    int pid = 0, oldest = 1, newest = 1, r = control_call(&request, &reply, err);
    if (r == -ENOENT || r == -ECONNREFUSED || r == -ECONNRESET || r == -EPIPE)
        return 0;
    if (r < 0)
        return r;
    if (json_unpack(reply.body, "{s:s, s:s, s:i, s?{s:i, s:i}}", "status", &status, "version",
                    &found, "pid", &pid, "state_versions", "oldest", &oldest, "newest",
                    &newest) < 0 ||
        pid <= 0 || oldest <= 0 || newest < oldest)
        return error_set(err, ERROR_SYSTEM, EPROTO, "pager %s: its health makes no sense", socket);
    if (strcmp(found, version) != 0)
        return error_set(err, ERROR_SYSTEM, EPROTO, "pager %s: it is version %.32s, not %s", socket,
                         found, version);
    process->pid = pid;
    process->draining = strcmp(status, "draining") == 0;
    process->state_oldest = (unsigned)oldest;
    process->state_newest = (unsigned)newest;
    return 1;
}

/* Asked again once its pidfd is open: the pid can't have been another process's in between. */
int pager_process_find(const char *socket, const char *version, struct pager_process *process,
                       struct error *err)
{
    struct pager_process found = {.pidfd = -1};
    int r = ask_health(socket, version, &found, err);
    if (r <= 0)
        return r;
    _cleanup_(close) int pidfd = pidfd_open(found.pid, 0);
    pid_t pid = found.pid;
    if (pidfd < 0 && errno != ESRCH)
        return error_errno(err, errno, socket, "open the pager process %d", pid);
    r = pidfd < 0 ? 0 : ask_health(socket, version, &found, err);
    if (r <= 0 || found.pid != pid)
        return r < 0 ? r : 0;
    found.pidfd = TAKE_FD(pidfd);
    *process = found;
    return 1;
}

/* ---- one that is started ---- */

static int open_log(const char *run_dir, const char *version, struct error *err)
{
    _cleanup_(free) char *directory = NULL;
    if (asprintf(&directory, "%s/pager/%s", run_dir, version) < 0) {
        directory = NULL;
        return error_errno(err, ENOMEM, run_dir, "start a pager");
    }
    int r = dir_make_all(directory, err);
    if (r < 0)
        return r;
    _cleanup_(close) int dir = dir_open(AT_FDCWD, directory, err);
    if (dir < 0)
        return dir;
    return log_file_open(dir, directory, "pager.log", LOG_LIMIT, NULL, err);
}

/* No descriptor of tined's goes along, they are all close-on-exec. */
static int spawn(const struct pager_program *program, int log_fd, pid_t *pid, struct error *err)
{
    char cache[16];
    const char *binary = program->binary;
    snprintf(cache, sizeof(cache), "%u", program->cache_mib);
    char *const option = program->cache_mib > 0 ? (char *)"--decoded-cache" : NULL;
    char *const argv[] = {
        (char *)binary, (char *)"--run-dir", (char *)program->run_dir, option, cache, NULL};
    _cleanup_(spawn_environment) struct spawn_environment environment = {.failpoints = NULL};
    posix_spawn_file_actions_t actions;
    posix_spawnattr_t attributes;
    int r = spawn_environment_init(&environment, err);
    if (r < 0)
        return r;
    posix_spawn_file_actions_init(&actions);
    spawn_attributes_init(&attributes, POSIX_SPAWN_SETSID);
    posix_spawn_file_actions_addopen(&actions, STDIN_FILENO, "/dev/null", O_RDONLY, 0);
    posix_spawn_file_actions_adddup2(&actions, log_fd, STDOUT_FILENO);
    posix_spawn_file_actions_adddup2(&actions, log_fd, STDERR_FILENO);
    posix_spawn_file_actions_addchdir_np(&actions, "/");
    r = posix_spawn(pid, binary, &actions, &attributes, argv, environment.list);
    posix_spawn_file_actions_destroy(&actions);
    posix_spawnattr_destroy(&attributes);
    return r != 0 ? error_errno(err, r, binary, "start the pager %s", binary) : 0;
}

/* A child that ended because another one of its version was there first leaves that one to be
 * found. */
static int wait_ready(const char *socket, const char *version, int child,
                      struct pager_process *process, struct error *err)
{
    uint64_t deadline = time_after_ms(READY_MS);
    struct pollfd end = {.fd = child, .events = POLLIN};
    int pause_ms = 1;
    for (;;) {
        bool ended = poll(&end, 1, pause_ms) > 0;
        int r = pager_process_find(socket, version, process, err);
        if (r != 0)
            return r < 0 ? r : 0;
        if (ended)
            return error_set(err, ERROR_SYSTEM, ECHILD,
                             "the pager of version %s ended at its start; pager.log beside %s says "
                             "why",
                             version, socket);
        if (time_monotonic_ns() >= deadline)
            return error_set(err, ERROR_TIMEOUT, ETIMEDOUT,
                             "the pager of version %s does not answer after %u s", version,
                             READY_MS / 1000);
        pause_ms = pause_ms < 32 ? pause_ms * 2 : 32;
    }
}

/* One that never answered, or was not needed, is ended. */
static void child_end(pid_t pid, int pidfd)
{
    siginfo_t info;
    kill(pid, SIGKILL); /* not reaped yet, so the pid is still ours */
    while (waitid(P_PIDFD, (id_t)pidfd, &info, WEXITED) < 0 && errno == EINTR) {
    }
}

int pager_process_start(const struct pager_program *program, const char *version,
                        struct pager_process *process, struct error *err)
{
    const char *binary = program->binary, *run_dir = program->run_dir;
    _cleanup_(free) char *socket = pager_socket_path(run_dir, version);
    if (!socket)
        return error_errno(err, ENOMEM, run_dir, "start a pager");
    _cleanup_(close) int log_fd = open_log(run_dir, version, err);
    if (log_fd < 0)
        return log_fd;
    pid_t pid = 0;
    int r = spawn(program, log_fd, &pid, err);
    if (r < 0)
        return r;
    _cleanup_(close) int child = pidfd_open(pid, 0);
    r = child < 0 ? error_errno(err, errno, binary, "open the pager process %d", pid)
                  : wait_ready(socket, version, child, process, err);
    if (child >= 0 && (r < 0 || process->pid != pid))
        child_end(pid, child);
    return r;
}
