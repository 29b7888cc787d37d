/* SPDX-License-Identifier: Apache-2.0 */
/* Processes by pidfd: never the wrong one, never a zombie. */
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "hypervisor/process.h"
#include "support.h"

/* A child that calls itself `name` and exits once `pipe` is closed by us, or at once. */
static struct vm_process child_make(const char *name, int exit_status, int *hold)
{
    int fds[2], named[2];
    assert_int_equal(pipe(fds), 0);
    assert_int_equal(pipe(named), 0);
    pid_t pid = fork();
    if (pid == 0) {
        char byte;
        close(fds[1]);
        prctl(PR_SET_NAME, name);
        if (write(named[1], "", 1) != 1 || read(fds[0], &byte, 1) < 0)
            _exit(1);
        _exit(exit_status);
    }
    char byte;
    close(fds[0]);
    assert_int_equal(read(named[0], &byte, 1), 1);
    close(named[0]);
    close(named[1]);
    *hold = fds[1];
    struct vm_process process;
    assert_int_equal(process_adopt_child(pid, &process, NULL), 0);
    return process;
}

static void test_ends_by_itself(void **state)
{
    int hold;
    struct vm_process process = child_make("vmm", 7, &hold);
    char text[64];
    assert_true(process.start_ticks > 0);
    assert_true(vm_process_alive(&process));
    assert_int_equal(vm_process_wait(&process, 10, NULL), 0);
    close(hold);
    assert_int_equal(process_wait_text(&process, 10000, text, NULL), 1);
    assert_string_equal(text, "exited with status 7");
    assert_false(vm_process_alive(&process));
    assert_no_children(); /* reaped */
    assert_int_equal(vm_process_kill(&process, 1000, NULL), 0);
}

static void test_killed(void **state)
{
    int hold;
    struct vm_process process = child_make("vmm", 0, &hold);
    struct vm_process same = process;
    same.pidfd = fcntl(process.pidfd, F_DUPFD_CLOEXEC, 3);
    char text[64];
    assert_int_equal(kill(process.pid, SIGKILL), 0);
    assert_int_equal(process_wait_text(&process, 10000, text, NULL), 1);
    assert_string_equal(text, "was killed by signal 9 (KILL)");
    assert_int_equal(vm_process_kill(&process, 1000, NULL), 0);
    assert_int_equal(process.pidfd, -1);
    assert_int_equal(process_wait_text(&same, 0, text, NULL), 1);
    assert_string_equal(text, "ended"); /* reaped already: nobody knows how */
    close(same.pidfd);
    close(hold);
    assert_no_children();
}

/* Asking whether it lives is enough to bury it. */
static void test_alive_reaps(void **state)
{
    int hold;
    struct vm_process process = child_make("vmm", 0, &hold);
    close(hold);
    siginfo_t info;
    assert_int_equal(waitid(P_PID, (id_t)process.pid, &info, WEXITED | WNOWAIT), 0); /* a zombie */
    assert_false(vm_process_alive(&process));
    assert_no_children();
    close(process.pidfd);
}

/* A zombie is not alive when all that is known is its pid, either; and if it is our child, each of
 * the three buries it and keeps no descriptor. */
static void test_zombie_by_pid(void **state)
{
    for (unsigned way = 0; way < 3; way++) {
        int hold;
        struct vm_process process = child_make("vmm", 0, &hold);
        struct vm_process adopted = {
            .pid = process.pid, .pidfd = -1, .start_ticks = process.start_ticks};
        close(process.pidfd);
        close(hold);
        siginfo_t info;
        assert_int_equal(waitid(P_PID, (id_t)process.pid, &info, WEXITED | WNOWAIT), 0);
        if (way == 0)
            assert_false(vm_process_alive(&adopted));
        else if (way == 1)
            assert_int_equal(vm_process_wait(&adopted, 1000, NULL), 1);
        else
            assert_int_equal(vm_process_kill(&adopted, 1000, NULL), 0);
        assert_int_equal(adopted.pidfd, -1);
        assert_no_children();
    }
}

/* The pid is somebody else's by now: hands off. */
static void test_reused_pid(void **state)
{
    int hold;
    struct vm_process process = child_make("vmm", 0, &hold);
    struct vm_process old = {
        .pid = process.pid, .pidfd = -1, .start_ticks = process.start_ticks - 1};
    assert_false(vm_process_alive(&old));
    assert_int_equal(vm_process_wait(&old, 1000, NULL), 1);
    assert_int_equal(vm_process_kill(&old, 1000, NULL), 0);
    assert_true(vm_process_alive(&process));
    assert_int_equal(vm_process_kill(&process, 10000, NULL), 0);
    close(hold);
    assert_no_children();
}

static void *tell_id_and_wait(void *context)
{
    int *pipes = context; /* its id goes out on the first, it ends when the second closes */
    pid_t id = gettid();
    char byte;
    if (write(pipes[0], &id, sizeof(id)) != sizeof(id) || read(pipes[1], &byte, 1) < 0)
        abort();
    return NULL;
}

/* The pid is now that of a thread of somebody, which no pidfd can be opened for. */
static void test_pid_reused_by_a_thread(void **state)
{
    int out[2], hold[2];
    pthread_t thread;
    pid_t id = 0;
    assert_int_equal(pipe(out), 0);
    assert_int_equal(pipe(hold), 0);
    int pipes[2] = {out[1], hold[0]};
    assert_int_equal(pthread_create(&thread, NULL, tell_id_and_wait, pipes), 0);
    assert_int_equal(read(out[0], &id, sizeof(id)), sizeof(id));
    struct vm_process old = {.pid = id, .pidfd = -1, .start_ticks = 1};
    assert_false(vm_process_alive(&old));
    assert_int_equal(vm_process_wait(&old, 0, NULL), 1);
    assert_int_equal(vm_process_kill(&old, 0, NULL), 0);
    close(hold[1]);
    assert_int_equal(pthread_join(thread, NULL), 0);
    close(hold[0]);
    close(out[0]);
    close(out[1]);
}

/* The command's name may look like the fields behind it. */
static void test_odd_names(void **state)
{
    static const char *const names[] = {"a) R 1 2 3 4", ") Z 1", "((((", "x y\nz", ""};
    for (unsigned i = 0; i < 5; i++) {
        int hold;
        struct vm_process process = child_make(names[i], 0, &hold);
        struct vm_process adopted = {
            .pid = process.pid, .pidfd = -1, .start_ticks = process.start_ticks};
        assert_true(vm_process_alive(&adopted));
        assert_int_equal(vm_process_kill(&adopted, 10000, NULL), 0);
        assert_int_equal(vm_process_kill(&process, 10000, NULL), 0);
        close(hold);
    }
    assert_no_children();
}

static void test_no_such_process(void **state)
{
    static const pid_t pids[] = {0, -1, -1000, 4194305};
    for (unsigned i = 0; i < 4; i++) {
        struct vm_process process = {.pid = pids[i], .pidfd = -1, .start_ticks = 1};
        assert_false(vm_process_alive(&process));
        assert_int_equal(vm_process_wait(&process, 0, NULL), 1);
        assert_int_equal(vm_process_kill(&process, 0, NULL), 0);
    }
}

/* R6: "I can't open it" is not "it is gone". */
static void test_no_descriptor_left(void **state)
{
    int hold;
    struct vm_process process = child_make("vmm", 0, &hold);
    struct vm_process adopted = {
        .pid = process.pid, .pidfd = -1, .start_ticks = process.start_ticks};
    struct rlimit before, full;
    assert_int_equal(getrlimit(RLIMIT_NOFILE, &before), 0);
    full = before;
    int probe = dup(0);
    close(probe);
    full.rlim_cur = (rlim_t)probe;
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &full), 0);
    struct error err = {0};
    int waited = vm_process_wait(&adopted, 0, &err);
    int killed = vm_process_kill(&adopted, 0, &err);
    bool alive = vm_process_alive(&adopted);
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &before), 0);
    assert_int_equal(waited, -EMFILE);
    assert_int_equal(killed, -EMFILE);
    assert_true(alive);
    assert_int_equal(adopted.pidfd, -1);
    assert_true(vm_process_alive(&adopted));
    close(adopted.pidfd);
    assert_int_equal(vm_process_kill(&process, 10000, NULL), 0);
    close(hold);
    assert_no_children();
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_ends_by_itself),     cmocka_unit_test(test_killed),
        cmocka_unit_test(test_alive_reaps),        cmocka_unit_test(test_zombie_by_pid),
        cmocka_unit_test(test_reused_pid),         cmocka_unit_test(test_pid_reused_by_a_thread),
        cmocka_unit_test(test_odd_names),          cmocka_unit_test(test_no_such_process),
        cmocka_unit_test(test_no_descriptor_left),
    };
    return cmocka_run_group_tests_name("process", tests, NULL, NULL);
}
