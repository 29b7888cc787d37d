/* SPDX-License-Identifier: Apache-2.0 */
/* How a VMM is started: a shell plays the VMM and tells what it sees. */
#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/cleanup.h"
#include "base/file.h"
#include "hypervisor/launch.h"
#include "support.h"

static int launch_shell(const char *guest, const char *script, struct vm_process *process,
                        struct error *err)
{
    const char *const arguments[] = {"-c", script, NULL};
    const struct launch launch = {.binary = "/bin/sh", .arguments = arguments, .guest_dir = guest};
    uint64_t log_start;
    return launch_vmm(&launch, process, &log_start, err);
}

/* Runs a script as VMM to its end. */
static void run_shell(const char *guest, const char *script)
{
    struct vm_process process;
    struct error err = {0};
    if (launch_shell(guest, script, &process, &err) != 0)
        fail_msg("%s", err.message);
    assert_int_equal(vm_process_wait(&process, 10000, &err), 1);
    assert_int_equal(vm_process_kill(&process, 1000, &err), 0);
    assert_no_children();
}

static void test_what_it_sees(void **state)
{
    char *guest = guest_make();
    run_shell(guest, "pwd; ls /run/tine/guest; echo to-stderr >&2; umask;"
                     "readlink /proc/self/fd/0; echo over");
    char *log = read_file(in_guest(guest, GUEST_VMM_LOG));
    assert_string_equal(log, "/run/tine/guest\nboot\ndisks\nlog\nrun\nto-stderr\n0077\n"
                             "/dev/null\nover\n");
    free(log);
    guest_remove(guest);
}

/* Runs a program as VMM to its end; returns what it wrote. No shell is in between: one changes
 * signals and opens pipes of its own. */
static char *run_program(const char *binary, const char *argument)
{
    char *guest = guest_make();
    const char *const arguments[] = {argument, NULL};
    const struct launch launch = {.binary = binary, .arguments = arguments, .guest_dir = guest};
    struct vm_process process;
    struct error err = {0};
    uint64_t log_start;
    if (launch_vmm(&launch, &process, &log_start, &err) != 0)
        fail_msg("%s", err.message);
    pid_t pid = process.pid;
    assert_int_equal(vm_process_wait(&process, 10000, &err), 1);
    assert_int_equal(vm_process_kill(&process, 1000, &err), 0);
    char *log = read_file(in_guest(guest, GUEST_VMM_LOG)), *text = NULL;
    assert_true(asprintf(&text, "%d\n%s", pid, log) > 0);
    free(log);
    guest_remove(guest);
    return text;
}

static void test_descriptors(void **state)
{
    int leaked[20];
    for (unsigned i = 0; i < 20; i++)
        leaked[i] = open("/dev/null", O_RDONLY); /* NOLINT: without O_CLOEXEC on purpose */
    char *text = run_program("/bin/ls", "/proc/self/fd");
    assert_string_equal(strchr(text, '\n'), "\n0\n1\n2\n3\n"); /* 3: the directory it lists */
    for (unsigned i = 0; i < 20; i++)
        close(leaked[i]);
    free(text);
}

static void test_signals(void **state)
{
    sigset_t blocked, before;
    sigemptyset(&blocked);
    sigaddset(&blocked, SIGUSR1);
    sigprocmask(SIG_BLOCK, &blocked, &before);
    signal(SIGPIPE, SIG_IGN);
    char *text = run_program("/bin/cat", "/proc/self/status");
    signal(SIGPIPE, SIG_DFL);
    sigset_t after;
    sigprocmask(SIG_SETMASK, &before, &after);
    assert_true(sigismember(&after, SIGUSR1)); /* ours is as it was */
    assert_false(sigismember(&after, SIGUSR2));
    assert_true(contains(text, "SigBlk:\t0000000000000000\n"));
    assert_true(contains(text, "SigIgn:\t0000000000000000\n"));
    free(text);
}

static void test_environment(void **state)
{
    assert_int_equal(setenv("SECRET_TOKEN", "x", 1), 0);
    char *text = run_program("/usr/bin/env", NULL);
    unsetenv("SECRET_TOKEN");
    assert_string_equal(strchr(text, '\n'), "\nPATH=/usr/sbin:/usr/bin:/sbin:/bin\n");
    free(text);
}

static void test_session(void **state)
{
    char *text = run_program("/bin/cat", "/proc/self/stat");
    char expected[128];
    long pid = strtol(text, NULL, 10);
    snprintf(expected, sizeof(expected), "%ld (cat) R %d %ld %ld 0 ", pid, getpid(), pid, pid);
    assert_true(contains(text, expected)); /* parent, process group, session, no terminal */
    free(text);
}

/* The same constant path, two instances, each its own files; and the host sees neither. What the
 * host does at that path, even remove it, does not reach them. */
static void test_two_instances(void **state)
{
    char *guests[2] = {guest_make(), guest_make()};
    struct vm_process processes[2];
    struct error err = {0};
    assert_int_equal(dir_make_all(HYPERVISOR_GUEST_DIR, NULL), 0);
    write_file("/run/tine/tined.sock", "the host's");
    for (unsigned i = 0; i < 2; i++) {
        char script[256];
        snprintf(script, sizeof(script),
                 "echo instance %u > " HYPERVISOR_GUEST_DIR "/mine; ls /run/tine; echo ready;"
                 "while ! test -e go; do sleep 0.01; done; cat " HYPERVISOR_GUEST_DIR "/mine",
                 i);
        assert_int_equal(launch_shell(guests[i], script, &processes[i], &err), 0);
    }
    for (unsigned i = 0; i < 2; i++)
        free(await_text(in_guest(guests[i], GUEST_VMM_LOG), "ready"));
    assert_int_equal(rmdir(HYPERVISOR_GUEST_DIR), 0); /* empty, and no mount point here */
    assert_int_equal(tree_remove(AT_FDCWD, "/run/tine", NULL), 0);
    for (unsigned i = 0; i < 2; i++) {
        char expected[32];
        write_file(in_guest(guests[i], "go"), "");
        assert_int_equal(vm_process_wait(&processes[i], 10000, &err), 1);
        assert_int_equal(vm_process_kill(&processes[i], 1000, &err), 0);
        char *log = read_file(in_guest(guests[i], GUEST_VMM_LOG));
        snprintf(expected, sizeof(expected), "guest\nready\ninstance %u\n", i);
        assert_string_equal(log, expected);
        free(log);
        guest_remove(guests[i]);
    }
}

/* A mount that the VMM makes stays with it, though the host's mounts are shared. */
static void test_mounts_do_not_leak(void **state)
{
    char *guest = guest_make();
    char *before = read_file("/proc/self/mountinfo");
    assert_int_equal(mount("none", "/", NULL, MS_REC | MS_SHARED, NULL), 0);
    char *shared = read_file("/proc/self/mountinfo");
    run_shell(guest, "mount -t tmpfs none /run/tine/guest/run && echo mounted");
    char *after = read_file("/proc/self/mountinfo");
    assert_string_equal(after, shared);
    assert_int_equal(mount("none", "/", NULL, MS_REC | MS_PRIVATE, NULL), 0);
    char *log = read_file(in_guest(guest, GUEST_VMM_LOG));
    assert_string_equal(log, "mounted\n");
    free(log);
    free(before);
    free(shared);
    free(after);
    guest_remove(guest);
}

static void test_log_is_appended_until_large(void **state)
{
    char *guest = guest_make();
    const char *path = in_guest(guest, GUEST_VMM_LOG);
    write_file(path, "earlier\n");
    run_shell(guest, "echo later");
    char *log = read_file(path);
    assert_string_equal(log, "earlier\nlater\n");
    free(log);
    assert_int_equal(truncate(path, (4 << 20) + 1), 0);
    run_shell(guest, "echo anew");
    log = read_file(path);
    assert_string_equal(log, "anew\n");
    free(log);
    /* A log that is a symbolic link would make us write elsewhere. */
    assert_int_equal(unlink(path), 0);
    assert_int_equal(symlink("/tmp/elsewhere", path), 0);
    struct vm_process process;
    struct error err = {0};
    assert_int_equal(launch_shell(guest, "true", &process, &err), -ELOOP);
    guest_remove(guest);
}

static void test_failpoints_of_its_own_reach_it(void **state)
{
    char *guest = guest_make();
    assert_int_equal(setenv("TINE_FAILPOINT", "our-point=EIO", 1), 0);
    run_shell(guest, "echo =$TINE_FAILPOINT=");
    assert_int_equal(setenv("TINE_CHILD_FAILPOINT", "its-point=EIO", 1), 0);
    run_shell(guest, "echo =$TINE_FAILPOINT=");
    unsetenv("TINE_FAILPOINT");
    unsetenv("TINE_CHILD_FAILPOINT");
    char *log = read_file(in_guest(guest, GUEST_VMM_LOG));
    assert_string_equal(log, "==\n=its-point=EIO=\n");
    free(log);
    guest_remove(guest);
}

static void launch_fails(const char *binary, const char *guest, int errnum, const char *words)
{
    const char *const arguments[] = {NULL};
    const struct launch launch = {.binary = binary, .arguments = arguments, .guest_dir = guest};
    struct vm_process process;
    struct error err = {0};
    uint64_t log_start;
    assert_int_equal(launch_vmm(&launch, &process, &log_start, &err), -errnum);
    if (!contains(err.message, words))
        fail_msg("'%s' lacks '%s'", err.message, words);
    assert_no_children();
}

static void test_bad_binaries(void **state)
{
    char *guest = guest_make();
    const char *plain = in_guest(guest, "plain");
    write_file(plain, "this is no program");
    launch_fails("/nowhere/tine-vmm", guest, ENOENT, "/nowhere/tine-vmm");
    launch_fails(plain, guest, EACCES, "execute it");
    assert_int_equal(chmod(plain, 0755), 0);
    launch_fails(plain, guest, ENOEXEC, "execute it");
    launch_fails(guest, guest, EACCES, guest); /* a directory */
    guest_remove(guest);
}

static void test_bad_guest_directory(void **state)
{
    char *guest = guest_make();
    launch_fails("/bin/true", in_guest(guest, "missing"), ENOENT, "missing");
    launch_fails("/bin/true", in_guest(guest, GUEST_KERNEL), ENOTDIR, "boot/kernel");
    guest_remove(guest);
}

/* Guest directories may be below /run; programs may not, since their /run is another. */
static void test_below_run(void **state)
{
    char *guest = guest_make();
    assert_int_equal(symlink("/bin/sh", "/run/shell"), 0);
    write_file("/run/program", "");
    launch_fails("/run/program", guest, EINVAL, "/run/program");
    guest_remove(guest);
    assert_int_equal(mkdir("/run/guest", 0700), 0);
    write_file("/run/guest/mine", "below run\n");
    run_shell("/run/guest", "cat /run/tine/guest/mine; ls /run");
    char *log = read_file("/run/guest/" GUEST_VMM_LOG);
    assert_string_equal(log, "below run\ntine\n");
    free(log);
    const char *const arguments[] = {"-c", "true", NULL};
    const struct launch launch = {
        .binary = "/run/shell", .arguments = arguments, .guest_dir = "/run/guest"};
    struct vm_process process;
    uint64_t log_start;
    assert_int_equal(launch_vmm(&launch, &process, &log_start, NULL), 0); /* it leads elsewhere */
    assert_int_equal(vm_process_kill(&process, 10000, NULL), 0);
    assert_no_children();
}

static void test_too_many_arguments(void **state)
{
    const char *arguments[64];
    for (unsigned i = 0; i < 63; i++)
        arguments[i] = "x";
    arguments[63] = NULL;
    char *guest = guest_make();
    const struct launch launch = {
        .binary = "/bin/true", .arguments = arguments, .guest_dir = guest};
    struct vm_process process;
    uint64_t log_start;
    assert_int_equal(launch_vmm(&launch, &process, &log_start, NULL), -E2BIG);
    guest_remove(guest);
}

/* Runs in a child: what it returns is its exit status. */
static int status_of(int (*body)(const char *guest), const char *guest)
{
    fflush(NULL);
    pid_t pid = fork();
    if (pid == 0)
        _exit(body(guest));
    int status = -1;
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_true(WIFEXITED(status));
    return WEXITSTATUS(status);
}

/* A step that fails in the child is reported with its name. */
static int launch_without_privilege(const char *guest)
{
    struct vm_process process;
    struct error err = {0};
    if (setgid(65534) < 0 || setuid(65534) < 0)
        return 2;
    int r = launch_shell(guest, "true", &process, &err);
    fprintf(stderr, "%s\n", err.message);
    return r == -EPERM && contains(err.message, "make a mount namespace") ? 0 : 1;
}

static void test_no_privilege(void **state)
{
    char *guest = guest_make();
    run_shell(guest, "true");
    static const char *const open_up[] = {".", "log", "log/vmm.log"};
    for (unsigned i = 0; i < 3; i++)
        assert_int_equal(chmod(in_guest(guest, open_up[i]), 0777), 0);
    assert_int_equal(status_of(launch_without_privilege, guest), 0);
    guest_remove(guest);
}

/* A daemon that was started with its standard descriptors closed. */
static int launch_without_stdio(const char *guest)
{
    struct vm_process process;
    close(0);
    close(1);
    close(2);
    if (launch_shell(guest, "echo out; echo err >&2; cat; exec ls /proc/self/fd", &process, NULL) !=
        0)
        return 1;
    return vm_process_wait(&process, 10000, NULL) == 1 ? 0 : 2;
}

static void test_no_stdio(void **state)
{
    char *guest = guest_make();
    assert_int_equal(status_of(launch_without_stdio, guest), 0);
    char *log = read_file(in_guest(guest, GUEST_VMM_LOG));
    assert_string_equal(log, "out\nerr\n0\n1\n2\n3\n");
    free(log);
    guest_remove(guest);
}

/* tined ends; its VM goes on, and the next tined finds and ends it by pid and start time. */
static int launch_then_end(const char *guest)
{
    struct vm_process process;
    if (launch_shell(guest, "echo ready; exec sleep 1000", &process, NULL) != 0)
        return 1;
    char text[64];
    snprintf(text, sizeof(text), "%d %llu", process.pid, (unsigned long long)process.start_ticks);
    write_file(in_guest(guest, "process"), text);
    return 0;
}

static void test_outlives_its_launcher(void **state)
{
    char *guest = guest_make();
    assert_int_equal(status_of(launch_then_end, guest), 0);
    free(await_text(in_guest(guest, GUEST_VMM_LOG), "ready"));
    char *text = read_file(in_guest(guest, "process"));
    struct vm_process process = {.pidfd = -1};
    char *rest = NULL;
    process.pid = (pid_t)strtol(text, &rest, 10);
    process.start_ticks = strtoull(rest, NULL, 10);
    free(text);
    assert_true(vm_process_alive(&process));
    assert_true(process.pidfd >= 0);
    struct error err = {0};
    assert_int_equal(vm_process_wait(&process, 0, &err), 0);
    assert_int_equal(vm_process_kill(&process, 10000, &err), 0);
    assert_int_equal(process.pidfd, -1);
    assert_false(vm_process_alive(&process));
    assert_int_equal(vm_process_kill(&process, 1000, &err), 0); /* gone already */
    guest_remove(guest);
}

/* A VMM can put what it likes in place of its logs: nothing of others is emptied or written. */
static void test_log_that_is_none(void **state)
{
    char *guest = guest_make();
    struct vm_process process;
    struct error err = {0};
    const char *log = in_guest(guest, GUEST_VMM_LOG), *shared = in_guest(guest, "shared");
    write_file(shared, "of others");
    assert_int_equal(link(shared, log), 0);
    assert_int_equal(launch_shell(guest, "echo mine", &process, &err), -EMLINK);
    assert_true(contains(err.message, "vmm.log is no log"));
    char *text = read_file(shared);
    assert_string_equal(text, "of others");
    free(text);
    assert_int_equal(unlink(log), 0);
    assert_int_equal(mkfifo(log, 0600), 0);
    assert_int_equal(launch_shell(guest, "echo mine", &process, &err), -ENXIO);
    assert_int_equal(unlink(log), 0);
    assert_int_equal(symlink("../shared", log), 0);
    assert_int_equal(launch_shell(guest, "echo mine", &process, &err), -ELOOP);
    assert_no_children();
    guest_remove(guest);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_what_it_sees),
        cmocka_unit_test(test_descriptors),
        cmocka_unit_test(test_signals),
        cmocka_unit_test(test_environment),
        cmocka_unit_test(test_session),
        cmocka_unit_test(test_two_instances),
        cmocka_unit_test(test_mounts_do_not_leak),
        cmocka_unit_test(test_log_is_appended_until_large),
        cmocka_unit_test(test_failpoints_of_its_own_reach_it),
        cmocka_unit_test(test_bad_binaries),
        cmocka_unit_test(test_bad_guest_directory),
        cmocka_unit_test(test_below_run),
        cmocka_unit_test(test_too_many_arguments),
        cmocka_unit_test(test_no_privilege),
        cmocka_unit_test(test_no_stdio),
        cmocka_unit_test(test_outlives_its_launcher),
        cmocka_unit_test(test_log_that_is_none),
    };
    return cmocka_run_group_tests_name("launch", tests, support_start, support_stop);
}
