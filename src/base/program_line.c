/* SPDX-License-Identifier: Apache-2.0 */
#include "base/program_line.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdint.h>
#include <string.h>
#include <sys/wait.h>

#include "base/cleanup.h"
#include "base/clock.h"
#include "base/spawn.h"

/* Up to the end of the line, of the room for it, of the output or of the time. */
static void line_read(int fd, uint64_t deadline, char *line, size_t size)
{
    size_t length = 0;
    struct pollfd poll_fd = {.fd = fd, .events = POLLIN};
    line[0] = '\0';
    while (length + 1 < size && !strchr(line, '\n')) {
        int left_ms = time_left_ms(deadline);
        if (left_ms == 0)
            break;
        int r = poll(&poll_fd, 1, left_ms);
        ssize_t n = r > 0 ? read(fd, line + length, size - 1 - length) : -1;
        if (n < 0 && (r == 0 || errno == EINTR))
            continue;
        if (n <= 0)
            break;
        length += (size_t)n;
        line[length] = '\0';
    }
    line[strcspn(line, "\n")] = '\0';
}

/* Returns an errno. */
static int spawn(const char *path, const char *argument, int output, pid_t *pid)
{
    char *const argv[] = {(char *)path, (char *)argument, NULL};
    char *const envp[] = {(char *)"PATH=/usr/sbin:/usr/bin:/sbin:/bin", NULL};
    posix_spawn_file_actions_t actions;
    posix_spawnattr_t attributes;
    spawn_attributes_init(&attributes, 0);
    posix_spawn_file_actions_init(&actions);
    posix_spawn_file_actions_adddup2(&actions, output, STDOUT_FILENO);
    posix_spawn_file_actions_addopen(&actions, STDIN_FILENO, "/dev/null", O_RDWR, 0);
    posix_spawn_file_actions_addopen(&actions, STDERR_FILENO, "/dev/null", O_RDWR, 0);
    posix_spawn_file_actions_addclosefrom_np(&actions, STDERR_FILENO + 1);
    int r = posix_spawn(pid, path, &actions, &attributes, argv, envp);
    posix_spawn_file_actions_destroy(&actions);
    posix_spawnattr_destroy(&attributes);
    return r;
}

int program_line(const char *path, const char *argument, unsigned timeout_ms, char *line,
                 size_t size, struct error *err)
{
    uint64_t deadline = time_after_ms(timeout_ms);
    int ends[2];
    if (pipe2(ends, O_CLOEXEC) < 0)
        return error_errno(err, errno, NULL, "make a pipe");
    _cleanup_(close) int reader = ends[0];
    _cleanup_(close) int writer = ends[1];
    pid_t pid;
    int r = spawn(path, argument, writer, &pid);
    if (r != 0)
        return error_errno(err, r, path, "run %s %s", path, argument);
    close(TAKE_FD(writer));
    line_read(reader, deadline, line, size);
    kill(pid, SIGKILL); /* it has said what it had to say, or never will */
    while (waitpid(pid, NULL, 0) < 0 && errno == EINTR) {
    }
    if (!*line)
        return error_set(err, ERROR_SYSTEM, ENODATA, "%s %s says nothing", path, argument);
    return 0;
}
