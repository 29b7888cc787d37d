/* SPDX-License-Identifier: Apache-2.0 */
/* /proc/<pid>/stat of whatever name a process has, and of one that is not there. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/cleanup.h"
#include "base/proc_stat.h"

/* Fields 4 to 13 and 16 to 19 are numbers that nobody asks for. */
#define BEFORE " -1 -2 -3 -4 -5 4194304 6 7 8 9 "
#define MIDDLE " 10 11 20 0 "

static void test_fields(void **state)
{
    static const char *const commands[] = {"tine-vmm", "a b", "", ") S 1 (", "))", "\n"};
    const double tick = 1.0 / (double)sysconf(_SC_CLK_TCK);
    for (size_t i = 0; i < ARRAY_SIZE(commands); i++) {
        char text[256];
        struct proc_stat stat;
        snprintf(text, sizeof(text), "17 (%s) Z" BEFORE "30 12" MIDDLE "3 0 4711 65536 5 999\n",
                 commands[i]);
        assert_int_equal(proc_stat_parse(text, "stat", &stat, NULL), 0);
        assert_int_equal(stat.state, 'Z');
        assert_true(stat.cpu_seconds > 41.5 * tick && stat.cpu_seconds < 42.5 * tick);
        assert_int_equal(stat.parent, -1);
        assert_int_equal(stat.threads, 3);
        assert_int_equal(stat.start_ticks, 4711);
        assert_int_equal(stat.vms_bytes, 65536);
        assert_int_equal(stat.rss_bytes, 5 * sysconf(_SC_PAGESIZE));
    }
}

static void test_no_stat(void **state)
{
    static const char *const bad[] = {
        "",
        "17",
        "17 (name",
        "17 (name)",
        "17 (name) S",
        "17 (name) S" BEFORE,
        "17 (name) S" BEFORE "30 12" MIDDLE "3 0 4711 65536",
        "17 (name) S" BEFORE "30 x" MIDDLE "3 0 4711 65536 5",
    };
    for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
        struct error err = {0};
        struct proc_stat stat = {.start_ticks = 7};
        assert_int_equal(proc_stat_parse(bad[i], "/proc/17/stat", &stat, &err), -EPROTO);
        assert_string_equal(err.message, "/proc/17/stat is not as proc(5) says");
        assert_int_equal(stat.start_ticks, 7);
    }
}

static void test_self(void **state)
{
    struct proc_stat stat, again;
    assert_int_equal(prctl(PR_SET_NAME, ") S 1 2 3"), 0);
    assert_int_equal(proc_stat(getpid(), &stat, NULL), 0);
    assert_int_equal(stat.state, 'R');
    assert_int_equal(stat.threads, 1);
    assert_true(stat.rss_bytes > 0 && stat.vms_bytes >= stat.rss_bytes);
    assert_int_equal(proc_stat(getpid(), &again, NULL), 0);
    assert_int_equal(again.start_ticks, stat.start_ticks);
}

/* A zombie is still there; a process that was waited for is not. */
static void test_child(void **state)
{
    struct proc_stat stat;
    struct error err = {0};
    siginfo_t info;
    pid_t child = fork();
    assert_true(child >= 0);
    if (child == 0)
        _exit(0);
    assert_int_equal(waitid(P_PID, (id_t)child, &info, WEXITED | WNOWAIT), 0);
    assert_int_equal(proc_stat(child, &stat, NULL), 0);
    assert_int_equal(stat.state, 'Z');
    assert_int_equal(waitpid(child, NULL, 0), child);
    assert_int_equal(proc_stat(child, &stat, &err), -ENOENT);
    assert_non_null(strstr(err.message, "/proc/"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_fields),
        cmocka_unit_test(test_no_stat),
        cmocka_unit_test(test_self),
        cmocka_unit_test(test_child),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
