/* SPDX-License-Identifier: Apache-2.0 */
/* An instance's own log of operations: what is in it, its size, and what a VMM may have put in its
 * place. */
#include "fixture.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/file.h"
#include "instance/operation_log.h"

#define OLDER GUEST_LOG "/" OPERATIONS_LOG_OLDER

/* Empty if there is none. Owner: caller. */
static char *read_log(struct fixture *fixture, const char *reference, enum instance_log log)
{
    struct error err = {0};
    _cleanup_(close) int fd = instance_log_open(fixture->host, reference, log, &err);
    if (fd < 0)
        assert_int_equal(err.code, ERROR_NOT_FOUND);
    char *text = calloc(1, 2 * OPERATION_LOG_LIMIT);
    assert_non_null(text);
    assert_true(fd < 0 || read(fd, text, 2 * OPERATION_LOG_LIMIT - 1) >= 0);
    return text;
}

/* Its lines are these: each holds the words that stand for it, in this order. */
static void assert_lines(struct fixture *fixture, const char *reference,
                         const char *const lines[][2], size_t count)
{
    _cleanup_(free) char *text = read_log(fixture, reference, INSTANCE_LOG_OPERATIONS);
    char *at = text;
    for (size_t i = 0; i < count; i++) {
        char *end = strchr(at, '\n');
        assert_non_null(end);
        *end = '\0';
        assert_non_null(strstr(at, lines[i][0]));
        assert_non_null(strstr(at, lines[i][1]));
        int year, month, day;
        char rest;
        assert_int_equal(sscanf(at, "%4d-%2d-%2dT%c", &year, &month, &day, &rest), 4);
        at = end + 1;
    }
    assert_string_equal(at, "");
}

static void test_a_life(void **state)
{
    struct fixture *fixture = *state;
    struct error err = {0};
    guest_orders(fixture, fixture_create(fixture, "web").id, "no-templates");
    assert_ok(instance_standby(fixture->host, "web", NULL, &err), &err);
    fixture_fork(fixture, "web", "fork", INSTANCE_RUNNING);
    assert_ok(instance_restore(fixture->host, "web", NULL, &err), &err);
    struct snapshot_record made = fixture_snapshot(fixture, "web", INSTANCE_STANDBY, "warm");
    assert_ok(snapshot_delete(fixture->host, made.id, &err), &err);
    /* Nothing to do, and what is refused, are no operations. */
    assert_ok(instance_restore(fixture->host, "web", NULL, &err), &err);
    assert_fails(snapshot_create(fixture->host, "fork",
                                 &(struct snapshot_create_request){.kind = INSTANCE_STOPPED}, NULL,
                                 &err),
                 &err, ERROR_STATE, "Running");
    fixture_reopen(fixture);
    static const char *const web[][2] = {
        {" create: ok in ", "(wait "},
        {" standby: ok in ", "pause "},
        {" restore: ok in ", " operation="},
        {" standby: ok in ", " operation="},
        {" restore: ok in ", " operation="},
        {" snapshot as warm: ok in ", "link "},
        {" snapshot-delete named warm: ok in ", "remove "},
    };
    static const char *const fork[][2] = {{" fork from web: ok in ", "link "}};
    assert_lines(fixture, "web", web, ARRAY_SIZE(web));
    assert_lines(fixture, "fork", fork, ARRAY_SIZE(fork));
}

/* The reason is there; what the guest said is not. */
static void test_failures(void **state)
{
    struct fixture *fixture = *state;
    struct error err = {0};
    struct instance_record record = fixture_create(fixture, "web");
    setenv("TINE_FAILPOINT", "standby-saved=ENOSPC", 1);
    assert_true(instance_standby(fixture->host, "web", NULL, &err) < 0);
    setenv("TINE_FAILPOINT", "", 1);
    const struct path console = guest_path(fixture, record.id, GUEST_CONSOLE_LOG);
    file_make(console.text, "the password is secret\n", 0);
    assert_int_equal(kill(record.vmm_pid, SIGKILL), 0);
    fixture_await(fixture, "web", INSTANCE_STOPPED);
    assert_non_null(strstr(fixture_get(fixture, "web").exit_message, "secret"));
    static const char *const lines[][2] = {
        {" create: ok", ""},
        {" standby: failed (resources) in ", "ENOSPC"},
        {" vmm-ended: Stopped, ", "SIGKILL"},
    };
    assert_lines(fixture, "web", lines, ARRAY_SIZE(lines));
    _cleanup_(free) char *text = read_log(fixture, "web", INSTANCE_LOG_OPERATIONS);
    assert_null(strstr(text, "secret"));
}

static void fill(struct fixture *fixture, const char *id, size_t size)
{
    const struct path path = guest_path(fixture, id, GUEST_OPERATIONS_LOG);
    file_make(path.text, "full\n", (off_t)size);
}

static void test_size(void **state)
{
    struct fixture *fixture = *state;
    const struct instance_changes tagged = {.tags = "{\"a\":\"b\"}"};
    struct error err = {0};
    struct instance_record record = fixture_create(fixture, "web");
    for (int round = 0; round < 2; round++) {
        fill(fixture, record.id, OPERATION_LOG_LIMIT);
        ino_t full = guest_stat(fixture, record.id, GUEST_OPERATIONS_LOG).st_ino;
        assert_ok(instance_update(fixture->host, "web", &tagged, NULL, &err), &err);
        assert_int_equal(guest_stat(fixture, record.id, OLDER).st_ino, full);
        static const char *const lines[][2] = {{" update: ok in ", "record "}};
        assert_lines(fixture, "web", lines, 1);
        _cleanup_(free) char *older = read_log(fixture, "web", INSTANCE_LOG_OPERATIONS_OLDER);
        assert_memory_equal(older, "full\n", 5);
    }
    /* A snapshot has let go of it when its line comes, and has made room. */
    fill(fixture, record.id, OPERATION_LOG_LIMIT);
    ino_t full = guest_stat(fixture, record.id, GUEST_OPERATIONS_LOG).st_ino;
    struct snapshot_record made = fixture_snapshot(fixture, "web", INSTANCE_STANDBY, NULL);
    assert_int_equal(guest_stat(fixture, record.id, OLDER).st_ino, full);
    static const char *const lines[][2] = {{" snapshot as ", "memory "}};
    assert_lines(fixture, "web", lines, 1);
    /* Who does not hold the instance makes no file in it. */
    fill(fixture, record.id, OPERATION_LOG_LIMIT);
    full = guest_stat(fixture, record.id, GUEST_OPERATIONS_LOG).st_ino;
    assert_ok(snapshot_delete(fixture->host, made.id, &err), &err);
    assert_int_equal(guest_stat(fixture, record.id, GUEST_OPERATIONS_LOG).st_ino, full);
}

static void tag(struct fixture *fixture)
{
    const struct instance_changes tagged = {.tags = "{}"};
    struct error err = {0};
    assert_ok(instance_update(fixture->host, "web", &tagged, NULL, &err), &err);
}

/* The VMM can write in log/: operations work on, and nothing else is written or waited for. */
static void test_what_is_no_log(void **state)
{
    struct fixture *fixture = *state;
    struct instance_record record = fixture_create(fixture, "web");
    const struct path log = guest_path(fixture, record.id, GUEST_OPERATIONS_LOG);
    const struct path dir = guest_path(fixture, record.id, GUEST_LOG);
    struct path victim, aside;
    snprintf(victim.text, sizeof(victim.text), "%.200s/victim", fixture->dir);
    snprintf(aside.text, sizeof(aside.text), "%.200s.aside", dir.text);
    file_make(victim.text, "untouched", 0);
    assert_int_equal(unlink(log.text), 0);
    assert_int_equal(symlink(victim.text, log.text), 0);
    tag(fixture);
    assert_int_equal(unlink(log.text), 0);
    assert_int_equal(link(victim.text, log.text), 0);
    tag(fixture);
    assert_int_equal(unlink(log.text), 0);
    assert_int_equal(mkfifo(log.text, 0600), 0);
    tag(fixture);
    assert_int_equal(unlink(log.text), 0);
    assert_int_equal(mkdir(log.text, 0700), 0);
    tag(fixture);
    assert_int_equal(rmdir(log.text), 0);
    /* The directory itself: what it points to gets no file. */
    assert_int_equal(rename(dir.text, aside.text), 0);
    assert_int_equal(symlink(fixture->dir, dir.text), 0);
    tag(fixture);
    struct error err = {0};
    assert_true(instance_log_open(fixture->host, "web", INSTANCE_LOG_OPERATIONS, &err) < 0);
    assert_int_equal(unlink(dir.text), 0);
    assert_int_equal(rename(aside.text, dir.text), 0);
    struct stat st;
    assert_int_equal(stat(victim.text, &st), 0);
    assert_int_equal(st.st_size, strlen("untouched"));
    snprintf(victim.text, sizeof(victim.text), "%.200s/" OPERATIONS_LOG, fixture->dir);
    assert_int_equal(stat(victim.text, &st), -1);
    tag(fixture);
    static const char *const lines[][2] = {{" update: ok in ", "record "}};
    assert_lines(fixture, "web", lines, 1);
}

static const struct CMUnitTest tests[] = {
    FIXTURE_TEST(test_a_life),
    FIXTURE_TEST(test_failures),
    FIXTURE_TEST(test_size),
    FIXTURE_TEST(test_what_is_no_log),
};
FIXTURE_MAIN(tests)
