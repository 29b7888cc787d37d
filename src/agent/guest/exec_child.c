/* SPDX-License-Identifier: Apache-2.0 */
#include "agent/guest/exec_child.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/close_range.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "agent/guest/machine.h"
#include "agent/guest/root.h"
#include "base/cleanup.h"

/* Both ends of the command's standard streams. */
struct stdio {
    int theirs[3]; /* standard input, output, error of the command */
    int ours[3];
};

static void cleanup_stdio(struct stdio *stdio)
{
    for (int i = 0; i < 3; i++) {
        cleanup_close(&stdio->theirs[i]);
        cleanup_close(&stdio->ours[i]);
    }
}

static int set_nonblocking(int fd)
{
    int flags = fcntl(fd, F_GETFL);
    return flags < 0 || fcntl(fd, F_SETFL, flags | O_NONBLOCK) < 0 ? -errno : 0;
}

static int stdio_pipes(struct stdio *stdio)
{
    for (int i = 0; i < 3; i++) {
        int ends[2];
        if (pipe2(ends, O_CLOEXEC) < 0)
            return -errno;
        bool input = i == STDIN_FILENO;
        stdio->theirs[i] = ends[input ? 0 : 1];
        stdio->ours[i] = ends[input ? 1 : 0];
        int r = set_nonblocking(stdio->ours[i]);
        if (r < 0)
            return r;
    }
    return 0;
}

static int duplicate(int fd, int *copy)
{
    *copy = fcntl(fd, F_DUPFD_CLOEXEC, 3);
    return *copy < 0 ? -errno : 0;
}

static int stdio_console(struct stdio *stdio)
{
    stdio->theirs[STDIN_FILENO] = open("/dev/null", O_RDONLY | O_CLOEXEC);
    if (stdio->theirs[STDIN_FILENO] < 0)
        return -errno;
    int r = duplicate(STDERR_FILENO, &stdio->theirs[STDOUT_FILENO]);
    return r < 0 ? r : duplicate(STDERR_FILENO, &stdio->theirs[STDERR_FILENO]);
}

static int stdio_terminal(struct stdio *stdio, const struct exec_request *request)
{
    struct winsize size = {.ws_row = request->rows, .ws_col = request->cols};
    int master = posix_openpt(O_RDWR | O_NOCTTY | O_CLOEXEC);
    if (master < 0)
        return -errno;
    stdio->ours[STDIN_FILENO] = master;
    int slave = -1;
    if (unlockpt(master) < 0 || ioctl(master, TIOCSWINSZ, &size) < 0 ||
        (slave = ioctl(master, TIOCGPTPEER, O_RDWR | O_NOCTTY | O_CLOEXEC)) < 0)
        return -errno;
    stdio->theirs[STDIN_FILENO] = slave;
    int r = set_nonblocking(master);
    if (r == 0)
        r = duplicate(master, &stdio->ours[STDOUT_FILENO]);
    if (r == 0)
        r = duplicate(slave, &stdio->theirs[STDOUT_FILENO]);
    if (r == 0)
        r = duplicate(slave, &stdio->theirs[STDERR_FILENO]);
    return r;
}

/* Only the standard streams are the command's: whatever else we have, or were given, ends here.
 * Marked, not closed: the pipe that reports a failure is still needed. musl has no wrapper. */
static void descriptors_drop(void)
{
    syscall(SYS_close_range, STDERR_FILENO + 1, ~0u, CLOSE_RANGE_CLOEXEC);
}

/* Why the child did not get to its program; read by the parent from a pipe that a successful
 * exec closes. */
enum child_step { STEP_SETUP = 1, STEP_ROOT, STEP_CWD, STEP_EXEC };
struct child_failure {
    enum child_step step;
    int errnum;
};

static void signals_reset(void)
{
    sigset_t none;
    sigemptyset(&none);
    for (int number = 1; number < NSIG; number++)
        signal(number, SIG_DFL); /* fails for KILL, STOP and the C library's own: as it should */
    sigprocmask(SIG_SETMASK, &none, NULL);
}

static int child_set_up(const struct exec_request *request, const struct stdio *stdio)
{
    if (prctl(PR_SET_PDEATHSIG, SIGKILL) < 0 || setsid() < 0)
        return -1;
    if (request->tty && ioctl(stdio->theirs[0], TIOCSCTTY, 0) < 0)
        return -1;
    for (int i = 0; i < 3; i++) {
        if (dup2(stdio->theirs[i], i) < 0)
            return -1;
    }
    return 0;
}

static _Noreturn void child_run(const struct exec_request *request, const struct stdio *stdio,
                                bool machine, int failure_fd)
{
    struct child_failure failure = {.step = STEP_SETUP};
    if (machine)
        machine_oom_score(0);
    if (child_set_up(request, stdio) == 0) {
        failure.step = STEP_ROOT;
        int r = machine ? root_enter() : 0;
        errno = -r;
        failure.step = r < 0 ? failure.step : STEP_CWD;
        if (r == 0 && chdir(request->cwd) == 0) {
            failure.step = STEP_EXEC;
            signals_reset();
            descriptors_drop();
            environ = request->env;
            execvp(request->argv[0], request->argv);
        }
    }
    failure.errnum = errno;
    ssize_t written = write(failure_fd, &failure, sizeof(failure));
    _exit(written == (ssize_t)sizeof(failure) ? 127 : 126);
}

/* Waits for the exec to succeed (end of file) or fail. */
static int await_exec(int fd, const struct exec_request *request, struct error *err)
{
    struct child_failure failure;
    ssize_t n;
    do {
        n = read(fd, &failure, sizeof(failure));
    } while (n < 0 && errno == EINTR);
    if (n == 0)
        return 0;
    if (n != (ssize_t)sizeof(failure))
        return error_errno(err, n < 0 ? errno : EIO, NULL, "exec %s", request->argv[0]);
    if (failure.step == STEP_ROOT)
        return error_errno(err, failure.errnum, NULL, "exec %s: enter the image's root",
                           request->argv[0]);
    if (failure.step == STEP_CWD)
        return error_errno(err, failure.errnum, NULL, "exec %s: change to directory %s",
                           request->argv[0], request->cwd);
    return error_errno(err, failure.errnum, NULL, "exec %s", request->argv[0]);
}

static int stdio_make(struct stdio *stdio, const struct exec_request *request, struct error *err)
{
    int r = request->console ? stdio_console(stdio)
            : request->tty   ? stdio_terminal(stdio, request)
                             : stdio_pipes(stdio);
    if (r < 0)
        return error_errno(err, -r, NULL, "exec %s: make its %s", request->argv[0],
                           request->console ? "output"
                           : request->tty   ? "terminal"
                                            : "pipes");
    return 0;
}

int exec_child_start(struct exec_child *child, const struct exec_request *request, bool machine,
                     struct error *err)
{
    _cleanup_(stdio) struct stdio stdio = {{-1, -1, -1}, {-1, -1, -1}};
    int r = stdio_make(&stdio, request, err);
    if (r < 0)
        return r;
    int ends[2];
    if (pipe2(ends, O_CLOEXEC) < 0)
        return error_errno(err, errno, NULL, "exec %s: make a pipe", request->argv[0]);
    _cleanup_(close) int failure_read = ends[0];
    _cleanup_(close) int failure_write = ends[1];
    pid_t pid = fork();
    if (pid < 0)
        return error_errno(err, errno, NULL, "exec %s: fork", request->argv[0]);
    if (pid == 0)
        child_run(request, &stdio, machine, failure_write);
    close(TAKE_FD(failure_write));
    r = await_exec(failure_read, request, err);
    if (r < 0) {
        waitpid(pid, NULL, 0);
        return r;
    }
    child->pid = pid;
    child->in = TAKE_FD(stdio.ours[STDIN_FILENO]);
    child->out = TAKE_FD(stdio.ours[STDOUT_FILENO]);
    child->err = TAKE_FD(stdio.ours[STDERR_FILENO]);
    return 0;
}

void exec_child_resize(const struct exec_child *child, uint16_t rows, uint16_t cols)
{
    struct winsize size = {.ws_row = rows, .ws_col = cols};
    ioctl(child->in, TIOCSWINSZ, &size); /* ENOTTY without a terminal: nothing to resize */
}
