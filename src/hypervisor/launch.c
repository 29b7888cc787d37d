/* SPDX-License-Identifier: Apache-2.0 */
#include "hypervisor/launch.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>

#include "base/cleanup.h"
#include "base/file.h"
#include "base/log_file.h"
#include "base/spawn.h"
#include "hypervisor/process.h"

#define LOG_LIMIT     (4u << 20) /* bytes; a larger log is started anew */
#define MAX_ARGUMENTS 32
#define PRIVATE_DIR   "/run" /* what HYPERVISOR_GUEST_DIR is below */
#define LAST_SIGNAL   64
#define REPORT_FD     3 /* where the child keeps its end of the error pipe */

/* All the child needs, made before the fork: tined has threads, so between fork and exec only
 * async-signal-safe calls are allowed (signal-safety(7)), and no memory can be allocated. */
struct child {
    const char *binary;
    char *argv[MAX_ARGUMENTS + 2];
    char *const *envp;
    int guest_fd, null_fd, output_fd, log_fd;
    const struct jail *jail; /* NULL: none */
    int report_fd;           /* the pipe's writing end */
};

/* What the child says when a step fails; nothing arrives when the exec works. */
struct report {
    int step, errnum;
};

static int result(int r)
{
    return r < 0 ? errno : 0;
}

static int step_enter(struct child *child)
{
    return result(fchdir(child->guest_fd));
}

static int step_namespace(struct child *child)
{
    return result(unshare(CLONE_NEWNS));
}

/* Before anything is mounted: systemd shares all mounts, so a bind would appear on the host. */
static int step_private(struct child *child)
{
    return result(mount("none", "/", NULL, MS_REC | MS_PRIVATE, NULL));
}

/* The mount point must not be a directory of the host's: whoever removes that, and systemd does
 * with a service's runtime directory, detaches the mounts on it in every namespace
 * (mount_namespaces(7)). So /run is a small file system of the VMM's own; it hides tined's socket
 * as well. */
static int step_cover(struct child *child)
{
    if (mount("none", PRIVATE_DIR, "tmpfs", MS_NOSUID | MS_NODEV | MS_NOEXEC,
              "size=64k,nr_inodes=16,mode=755") < 0 ||
        mkdir(PRIVATE_DIR "/tine", 0755) < 0 || mkdir(HYPERVISOR_GUEST_DIR, 0755) < 0)
        return errno;
    return 0;
}

/* "." and not the path: the working directory moved into the new namespace along with the process,
 * and is the very directory that was opened. */
static int step_bind(struct child *child)
{
    return result(mount(".", HYPERVISOR_GUEST_DIR, NULL, MS_BIND | MS_REC, NULL));
}

static int step_jail_mount(struct child *child)
{
    return child->jail ? jail_mount(child->jail) : 0;
}

static int step_jail_directories(struct child *child)
{
    return child->jail ? jail_make_directories(child->jail) : 0;
}

static int step_jail_guest(struct child *child)
{
    return child->jail ? jail_show_guest(child->jail) : 0;
}

static int step_chdir(struct child *child)
{
    return result(chdir(HYPERVISOR_GUEST_DIR));
}

static int step_session(struct child *child)
{
    umask(0077);
    return result(setsid());
}

/* The kernel's own form (arch/x86/include/uapi/asm/signal.h); all zero is SIG_DFL. */
struct kernel_sigaction {
    void (*handler)(int);
    unsigned long flags;
    void (*restorer)(void);
    unsigned long mask;
};

/* Past the C library: since glibc 2.41 its sigaction() takes a lock for SIGABRT, which another
 * thread of tined may have held at the moment of the fork, and the child would wait for ever. */
static int step_signals(struct child *child)
{
    static const struct kernel_sigaction action;
    for (int number = 1; number <= LAST_SIGNAL; number++)
        syscall(SYS_rt_sigaction, number, &action, NULL, sizeof(action.mask)); /* not KILL, STOP */
    const unsigned long none = 0;
    return result((int)syscall(SYS_rt_sigprocmask, SIG_SETMASK, &none, NULL, sizeof(none)));
}

static int step_stdio(struct child *child)
{
    if (dup2(child->null_fd, STDIN_FILENO) < 0 || dup2(child->output_fd, STDOUT_FILENO) < 0 ||
        dup2(child->log_fd, STDERR_FILENO) < 0)
        return errno;
    return 0;
}

static int step_descriptors(struct child *child)
{
    if (child->report_fd != REPORT_FD) {
        if (dup3(child->report_fd, REPORT_FD, O_CLOEXEC) < 0)
            return errno;
        child->report_fd = REPORT_FD;
    }
    return result(close_range(REPORT_FD + 1, ~0u, 0));
}

static int step_exec(struct child *child)
{
    execve(child->binary, child->argv, child->envp);
    return errno;
}

/* In this order. Each returns 0 or an errno. */
static const struct {
    const char *name;
    int (*run)(struct child *child);
} steps[] = {
    {"enter the guest directory", step_enter},
    {"make a mount namespace", step_namespace},
    {"make its mounts private", step_private},
    {"mount a private " PRIVATE_DIR, step_cover},
    {"mount the guest directory on " HYPERVISOR_GUEST_DIR, step_bind},
    {"mount " JAIL_BASE, step_jail_mount},
    {"make directories in " JAIL_BASE, step_jail_directories},
    {"mount the guest directory in " JAIL_BASE " as the jail's user's", step_jail_guest},
    {"enter " HYPERVISOR_GUEST_DIR, step_chdir},
    {"make a session", step_session},
    {"reset signals", step_signals},
    {"redirect input and output", step_stdio},
    {"close descriptors", step_descriptors},
    {"execute it", step_exec},
};

static _Noreturn void child_run(struct child *child)
{
    for (size_t i = 0; i < ARRAY_SIZE(steps); i++) {
        int errnum = steps[i].run(child);
        if (errnum == 0)
            continue;
        const struct report report = {.step = (int)i, .errnum = errnum};
        /* A parent that does not listen any more needs no report. */
        if (write(child->report_fd, &report, sizeof(report)) < 0)
            _exit(126);
        break;
    }
    _exit(127);
}

/* The child's descriptors must not be 0 to 2, which it replaces: they are if tined was started with
 * these closed. */
static int move_above_stdio(int *fd, struct error *err)
{
    if (*fd > STDERR_FILENO)
        return 0;
    int moved = fcntl(*fd, F_DUPFD_CLOEXEC, STDERR_FILENO + 1);
    if (moved < 0)
        return error_errno(err, errno, NULL, "duplicate a descriptor");
    close(*fd);
    *fd = moved;
    return 0;
}

/* A VMM writes in this directory: what it put in place of its log is not emptied for it (R2). */
static int open_log(int guest_fd, const char *guest_dir, const char *name, off_t limit,
                    uint64_t *start, struct error *err)
{
    if (mkdirat(guest_fd, "log", 0700) < 0 && errno != EEXIST)
        return error_errno(err, errno, guest_dir, "make %s/log", guest_dir);
    _cleanup_(close) int fd = log_file_open(guest_fd, guest_dir, name, limit, start, err);
    if (fd < 0)
        return fd;
    int r = move_above_stdio(&fd, err);
    return r < 0 ? r : TAKE_FD(fd);
}

static int open_above_stdio(const char *path, int flags, struct error *err)
{
    _cleanup_(close) int fd = open(path, flags | O_CLOEXEC);
    if (fd < 0)
        return error_errno(err, errno, path, "open %s", path);
    int r = move_above_stdio(&fd, err);
    return r < 0 ? r : TAKE_FD(fd);
}

static int make_pipe(int *reader, int *writer, struct error *err)
{
    int fds[2];
    if (pipe2(fds, O_CLOEXEC) < 0)
        return error_errno(err, errno, NULL, "make a pipe");
    *reader = fds[0];
    *writer = fds[1];
    return move_above_stdio(writer, err);
}

/* Forks with every signal blocked, so that no handler of ours runs in the child. _Fork() and not
 * fork(): no atfork handler of a library may run in a child of a threaded process. */
static pid_t fork_child(struct child *child)
{
    sigset_t all, before;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    pid_t pid = _Fork();
    if (pid == 0)
        child_run(child);
    int saved = errno;
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    errno = saved;
    return pid;
}

/* Reads what the child has to say: 0 nothing, it runs the VMM; negative when a step failed. */
static int read_report(int reader, const struct launch *launch, struct error *err)
{
    struct report report = {0};
    ssize_t n;
    do {
        n = read(reader, &report, sizeof(report));
    } while (n < 0 && errno == EINTR);
    if (n == 0)
        return 0;
    if (n != (ssize_t)sizeof(report) || report.step < 0 || report.step >= (int)ARRAY_SIZE(steps))
        return error_set(err, ERROR_SYSTEM, EPROTO, "start VMM %s: no answer from the child",
                         launch->binary);
    return error_errno(err, report.errnum, launch->binary, "start VMM %s for %s: %s",
                       launch->binary, launch->guest_dir, steps[report.step].name);
}

static int child_start(struct child *child, const struct launch *launch, struct vm_process *process,
                       struct error *err)
{
    _cleanup_(close) int reader = -1;
    _cleanup_(close) int writer = -1;
    int r = make_pipe(&reader, &writer, err);
    if (r < 0)
        return r;
    child->report_fd = writer;
    pid_t pid = fork_child(child);
    if (pid < 0)
        return error_errno(err, errno, launch->binary, "start VMM %s: fork", launch->binary);
    close(TAKE_FD(writer));
    r = read_report(reader, launch, err);
    if (r == 0)
        r = process_adopt_child(pid, process, err);
    if (r < 0) {
        kill(pid, SIGKILL); /* not reaped yet, so the pid is still ours */
        while (waitpid(pid, NULL, 0) < 0 && errno == EINTR) {
        }
    }
    return r;
}

static int child_arguments(struct child *child, const struct launch *launch, struct error *err)
{
    size_t count = 0;
    child->argv[count++] = (char *)child->binary;
    for (const char *const *argument = launch->arguments; *argument; argument++) {
        if (count > MAX_ARGUMENTS)
            return error_set(err, ERROR_INVALID, E2BIG, "start VMM %s: more than %d arguments",
                             launch->binary, MAX_ARGUMENTS);
        child->argv[count++] = (char *)*argument;
    }
    child->argv[count] = NULL;
    return 0;
}

int launch_vmm(const struct launch *launch, struct vm_process *process, uint64_t *log_start,
               struct error *err)
{
    struct child child = {0};
    _cleanup_(spawn_environment) struct spawn_environment environment = {.failpoints = NULL};
    /* Absolute, because the working directory changes before the exec. */
    _cleanup_(free) char *binary = realpath(launch->binary, NULL);
    if (!binary)
        return error_errno(err, errno, launch->binary, "start VMM %s", launch->binary);
    if (strncmp(binary, PRIVATE_DIR "/", strlen(PRIVATE_DIR "/")) == 0)
        return error_set(err, ERROR_INVALID, EINVAL,
                         "start VMM %s: a program below " PRIVATE_DIR
                         " is hidden from the VMM's own namespace",
                         binary);
    child.binary = binary;
    int r = child_arguments(&child, launch, err);
    if (r == 0)
        r = spawn_environment_init(&environment, err);
    if (r < 0)
        return r;
    child.envp = environment.list;
    _cleanup_(close) int guest_fd =
        open_above_stdio(launch->guest_dir, O_RDONLY | O_DIRECTORY, err);
    if (guest_fd < 0)
        return guest_fd;
    _cleanup_(close) int null_fd = open_above_stdio("/dev/null", O_RDWR, err);
    if (null_fd < 0)
        return null_fd;
    _cleanup_(close) int log_fd =
        open_log(guest_fd, launch->guest_dir, GUEST_VMM_LOG,
                 launch->console_on_stdout ? 0 : LOG_LIMIT, log_start, err);
    if (log_fd < 0)
        return log_fd;
    _cleanup_(close) int console_fd =
        launch->console_on_stdout
            ? open_log(guest_fd, launch->guest_dir, GUEST_CONSOLE_LOG, LOG_LIMIT, NULL, err)
            : -1;
    if (launch->console_on_stdout && console_fd < 0)
        return console_fd;
    child.guest_fd = guest_fd;
    child.null_fd = null_fd;
    child.output_fd = launch->console_on_stdout ? console_fd : log_fd;
    child.log_fd = log_fd;
    child.jail = launch->jail;
    return child_start(&child, launch, process, err);
}
