/* SPDX-License-Identifier: Apache-2.0 */
/* Operations that fail half way: the instance is as before, still usable, and nothing is left. */
#include "fixture.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "listing.h"
#include "web.h"

static int do_create(struct fixture *fixture, struct error *err)
{
    const struct instance_create_request request = fixture_request(fixture, "new");
    return instance_create(fixture->host, &request, NULL, err);
}

/* Each failpoint on the way of each operation. With a writable disk a restore can't be undone once
 * the guest has run, so those two points are tried without. */
static const struct {
    web_operation *run;
    enum instance_state from;
    bool diskless;
    const char *failpoints;
    bool restored; /* it has a retained base */
    bool naps;     /* it can't be forked live */
} walks[] = {
    {do_create, INSTANCE_RUNNING, false,
     "create-reserved create-copied stack-publish-before-rename stack-publish-after-rename "
     "create-published boot-prepared boot-launched boot-recorded boot-ready boot-program"},
    {web_start, INSTANCE_STOPPED, false,
     "boot-prepared boot-launched boot-recorded boot-ready boot-program"},
    {web_standby, INSTANCE_RUNNING, false,
     "standby-paused standby-saved standby-synced stack-publish-before-rename "
     "stack-publish-after-rename "
     "standby-published standby-recorded"},
    {web_standby, INSTANCE_RUNNING, false,
     "merge-unshared merge-moved standby-paused standby-saved standby-synced "
     "stack-publish-before-rename stack-publish-after-rename "
     "standby-published standby-recorded",
     .restored = true},
    {web_restore, INSTANCE_STANDBY, false,
     "restore-prepared restore-loaded restore-recorded restore-renamed"},
    {web_restore, INSTANCE_STANDBY, true, "restore-resumed restore-told"},
    {web_fork, INSTANCE_STANDBY, false,
     "fork-reserved fork-linked stack-publish-before-rename stack-publish-after-rename "
     "fork-published restore-prepared restore-loaded restore-recorded "
     "restore-renamed restore-resumed restore-told"},
    {web_fork_asleep, INSTANCE_STANDBY, false, "fork-reserved fork-linked fork-published"},
    {web_fork, INSTANCE_STOPPED, false,
     "fork-reserved fork-linked fork-published boot-prepared boot-launched boot-ready"},
    {web_fork_asleep, INSTANCE_STOPPED, false, "boot-ready standby-paused standby-published"},
    {web_fork, INSTANCE_RUNNING, false,
     "standby-paused standby-saved standby-synced standby-published standby-recorded fork-reserved "
     "fork-linked "
     "fork-published",
     .naps = true},
    {web_fork, INSTANCE_RUNNING, false,
     "merge-unshared merge-moved standby-saved standby-published fork-linked fork-published",
     .restored = true, .naps = true},
    {web_fork, INSTANCE_RUNNING, false,
     "live-paused live-prepared live-made fork-reserved fork-linked fork-published live-child "
     "live-resumed live-recorded"},
    {web_fork, INSTANCE_RUNNING, true, "live-prepared live-made fork-linked live-child",
     .restored = true},
};

static void walk_one(struct fixture *fixture, web_operation *run, enum instance_state from,
                     const char *failpoint)
{
    struct error err = {0};
    char setting[128];
    _cleanup_(free) char *before = listing(fixture->dir);
    snprintf(setting, sizeof(setting), "%s=EIO", failpoint);
    setenv("TINE_FAILPOINT", setting, 1);
    int r = run(fixture, &err);
    setenv("TINE_FAILPOINT", "", 1);
    if (r == 0)
        print_error("%s was not on the way\n", failpoint);
    assert_int_equal(r, -EIO);
    assert_non_null(strstr(err.message, "EIO"));
    assert_state(fixture, "web", from);
    assert_true(instance_get(fixture->host, "new", NULL, &err) < 0);
    _cleanup_(free) char *after = listing(fixture->dir);
    assert_string_equal(before, after);
}

static void test_every_failpoint(void **state)
{
    struct fixture *fixture = *state;
    struct error err = {0};
    for (size_t i = 0; i < ARRAY_SIZE(walks); i++) {
        char points[512], *saved = NULL;
        snprintf(points, sizeof(points), "%s", walks[i].failpoints);
        if (walks[i].diskless)
            fixture_create_diskless(fixture, "web");
        else
            fixture_create(fixture, "web");
        web_reach(fixture, walks[i].from);
        if (walks[i].naps)
            guest_orders(fixture, fixture_get(fixture, "web").id, "no-templates");
        if (walks[i].restored) {
            assert_ok(web_standby(fixture, &err), &err);
            assert_ok(web_restore(fixture, &err), &err);
            guest_remember(fixture, "web", WEB_NOTE);
        }
        for (char *name = strtok_r(points, " ", &saved); name; name = strtok_r(NULL, " ", &saved)) {
            /* The source of a fork from Running is woken again, from a new base. */
            if (walks[i].from == INSTANCE_RUNNING && walks[i].run == web_fork) {
                assert_ok(web_standby(fixture, &err), &err);
                assert_ok(web_restore(fixture, &err), &err);
            }
            walk_one(fixture, walks[i].run, walks[i].from, name);
            if (walks[i].from == INSTANCE_RUNNING)
                assert_recalls(fixture, "web", WEB_NOTE);
        }
        assert_web_usable(fixture);
        assert_ok(instance_delete(fixture->host, "web", &err), &err);
    }
}

/* Past the point of no return a failure is only a warning. */
static void test_late_failures_are_successes(void **state)
{
    struct fixture *fixture = *state;
    struct error err = {0};
    fixture_create(fixture, "web");
    web_reach(fixture, INSTANCE_RUNNING);
    assert_ok(web_standby(fixture, &err), &err);
    assert_ok(web_restore(fixture, &err), &err);
    setenv("TINE_FAILPOINT", "standby-killed=EIO", 1);
    assert_ok(web_standby(fixture, &err), &err);
    setenv("TINE_FAILPOINT", "", 1);
    struct instance_record record = fixture_get(fixture, "web");
    guest_stat(fixture, record.id, GUEST_BASE);
    assert_web_usable(fixture);
    setenv("TINE_FAILPOINT", "delete-forgotten=EIO", 1);
    assert_ok(instance_delete(fixture->host, "web", &err), &err);
    setenv("TINE_FAILPOINT", "", 1);
    fixture_reopen(fixture);
}

static void test_stop_and_delete_that_fail(void **state)
{
    static const char *const points[] = {"stop-asked", "stop-killed", "delete-killed",
                                         "delete-renamed"};
    struct fixture *fixture = *state;
    fixture_create(fixture, "web");
    for (size_t i = 0; i < ARRAY_SIZE(points); i++) {
        struct error err = {0};
        char setting[64];
        snprintf(setting, sizeof(setting), "%s=EIO", points[i]);
        setenv("TINE_FAILPOINT", setting, 1);
        int r = i < 2 ? instance_stop(fixture->host, "web", 0, NULL, &err)
                      : instance_delete(fixture->host, "web", &err);
        setenv("TINE_FAILPOINT", "", 1);
        assert_int_equal(r, -EIO);
        /* The guest is off, whatever else went wrong. */
        fixture_await(fixture, "web", INSTANCE_STOPPED);
        assert_ok(web_start(fixture, &err), &err);
        assert_recalls(fixture, "web", "");
    }
}

static void test_restart_after_late_restore_failure_with_a_disk(void **state)
{
    struct fixture *fixture = *state;
    struct error err = {0};
    fixture_create(fixture, "web");
    web_reach(fixture, INSTANCE_STANDBY);
    setenv("TINE_FAILPOINT", "restore-told=EIO", 1);
    assert_fails(web_restore(fixture, &err), &err, ERROR_SYSTEM, "can't go back");
    setenv("TINE_FAILPOINT", "", 1);
    /* Its agent answers, so the watcher finishes the restore. */
    fixture_await(fixture, "web", INSTANCE_RUNNING);
    assert_web_usable(fixture);
}

static void test_bad_snapshots(void **state)
{
    struct fixture *fixture = *state;
    struct error err = {0};
    struct instance_record record = fixture_create(fixture, "web");
    web_reach(fixture, INSTANCE_STANDBY);
    struct path memory = guest_path(fixture, record.id, "snapshot/memory");
    struct path vm_state = guest_path(fixture, record.id, "snapshot/state");
    struct path aside = guest_path(fixture, record.id, "aside");

    assert_int_equal(truncate(memory.text, FIXTURE_MEMORY - 4096), 0);
    assert_fails(web_restore(fixture, &err), &err, ERROR_CORRUPT, "snapshot/memory");
    assert_int_equal(truncate(memory.text, FIXTURE_MEMORY), 0);

    assert_int_equal(rename(memory.text, aside.text), 0);
    assert_fails(web_restore(fixture, &err), &err, ERROR_SYSTEM, "ENOENT");
    assert_fails(web_fork(fixture, &err), &err, ERROR_SYSTEM, "ENOENT");
    assert_int_equal(rename(aside.text, memory.text), 0);

    assert_int_equal(rename(vm_state.text, aside.text), 0);
    file_make(vm_state.text, "{}", 0);
    assert_fails(web_restore(fixture, &err), &err, ERROR_SYSTEM, "load state");
    assert_int_equal(rename(aside.text, vm_state.text), 0);
    assert_state(fixture, "web", INSTANCE_STANDBY);
    assert_web_usable(fixture);
}

/* A VMM that refuses to save: the guest goes on. */
static void test_standby_that_the_vmm_refuses(void **state)
{
    static const struct {
        const char *order, *words;
        enum error_code code;
    } cases[] = {
        {"full /snapshot/create no space left on device\n", "no space left", ERROR_RESOURCES},
        {"refuse /snapshot/create disliked\n", "disliked", ERROR_INVALID},
        {"refuse /vm not now\n", "not now", ERROR_INVALID},
        {"short-memory\n", "memory", ERROR_CORRUPT},
    };
    struct fixture *fixture = *state;
    struct instance_record record = fixture_create(fixture, "web");
    web_reach(fixture, INSTANCE_RUNNING);
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        struct error err = {0};
        guest_orders(fixture, record.id, cases[i].order);
        _cleanup_(free) char *before = listing(fixture->dir);
        assert_true(web_standby(fixture, &err) < 0);
        assert_non_null(strstr(err.message, cases[i].words));
        _cleanup_(free) char *after = listing(fixture->dir);
        assert_string_equal(before, after);
        guest_orders(fixture, record.id, NULL);
        assert_state(fixture, "web", INSTANCE_RUNNING);
        assert_int_equal(fixture_get(fixture, "web").vmm_pid, record.vmm_pid);
        assert_recalls(fixture, "web", WEB_NOTE);
    }
    assert_web_usable(fixture);
}

static void test_vmm_that_dies_in_standby(void **state)
{
    struct fixture *fixture = *state;
    struct error err = {0};
    struct instance_record record = fixture_create(fixture, "web");
    guest_orders(fixture, record.id, "die /snapshot/create out of luck\n");
    assert_true(web_standby(fixture, &err) < 0);
    guest_orders(fixture, record.id, NULL);
    assert_state(fixture, "web", INSTANCE_STOPPED);
    assert_absent(fixture, record.id, GUEST_SNAPSHOT);
    assert_web_usable(fixture);
}

/* It was killed, and its connections close a little before it is gone. */
static void test_vmm_that_is_about_to_die_in_standby(void **state)
{
    struct fixture *fixture = *state;
    struct error err = {0};
    struct instance_record record = fixture_create(fixture, "web");
    guest_orders(fixture, record.id, "die-slowly /vm 200\n");
    assert_fails(web_standby(fixture, &err), &err, ERROR_SYSTEM, "ended");
    guest_orders(fixture, record.id, NULL);
    assert_state(fixture, "web", INSTANCE_STOPPED);
    assert_web_usable(fixture);
}

/* A VMM that loads but does not run the guest: nothing has happened, even with a disk. */
static void test_resume_that_the_vmm_refuses(void **state)
{
    struct fixture *fixture = *state;
    struct error err = {0};
    struct instance_record record = fixture_create(fixture, "web");
    web_reach(fixture, INSTANCE_STANDBY);
    guest_orders(fixture, record.id, "refuse /vm not now\n");
    _cleanup_(free) char *before = listing(fixture->dir);
    assert_fails(web_restore(fixture, &err), &err, ERROR_INVALID, "not now");
    _cleanup_(free) char *after = listing(fixture->dir);
    assert_string_equal(before, after);
    guest_orders(fixture, record.id, NULL);
    assert_state(fixture, "web", INSTANCE_STANDBY);
    assert_web_usable(fixture);
}

/* It died when it was told to run: whether the guest has run, nobody knows. */
static void test_vmm_that_dies_at_resume(void **state)
{
    struct fixture *fixture = *state;
    struct error err = {0};
    struct instance_record record = fixture_create(fixture, "web");
    web_reach(fixture, INSTANCE_STANDBY);
    guest_orders(fixture, record.id, "die /vm out of luck\n");
    assert_true(web_restore(fixture, &err) < 0);
    guest_orders(fixture, record.id, NULL);
    assert_state(fixture, "web", INSTANCE_STOPPED);
    assert_absent(fixture, record.id, GUEST_BASE);
    assert_ok(instance_delete(fixture->host, "web", &err), &err);

    record = fixture_create_diskless(fixture, "web");
    web_reach(fixture, INSTANCE_STANDBY);
    guest_orders(fixture, record.id, "die /vm out of luck\n");
    assert_true(web_restore(fixture, &err) < 0);
    guest_orders(fixture, record.id, NULL);
    assert_state(fixture, "web", INSTANCE_STANDBY);
    assert_web_usable(fixture);
}

static void open_impatient(struct fixture *fixture)
{
    struct error err = {0};
    const struct host_options options = {.data_dir = fixture->data,
                                         .vmm_binary = fixture->vmm,
                                         .kit_dir = fixture->kit,
                                         .agent_timeout_ms = 800};
    fixture_close(fixture);
    fixture->host = host_open(&options, &err);
    assert_ok(fixture->host ? 0 : -1, &err);
}

static void test_agent_that_does_not_answer(void **state)
{
    struct fixture *fixture = *state;
    struct error err = {0};
    struct instance_record record = fixture_create_diskless(fixture, "web");
    web_reach(fixture, INSTANCE_STANDBY);
    open_impatient(fixture);
    guest_orders(fixture, record.id, "no-agent\n");
    assert_fails(web_restore(fixture, &err), &err, ERROR_TIMEOUT, "does not answer");
    assert_state(fixture, "web", INSTANCE_STANDBY);
    guest_orders(fixture, record.id, NULL);
    fixture_reopen(fixture);
    assert_web_usable(fixture);
}

static void test_agent_that_does_not_answer_with_a_disk(void **state)
{
    struct fixture *fixture = *state;
    struct error err = {0};
    struct instance_record record = fixture_create(fixture, "web");
    web_reach(fixture, INSTANCE_STANDBY);
    open_impatient(fixture);
    guest_orders(fixture, record.id, "no-agent\n");
    assert_fails(web_restore(fixture, &err), &err, ERROR_TIMEOUT, "can't go back");
    record = fixture_get(fixture, "web");
    assert_int_equal(record.state, INSTANCE_INITIALIZING);
    assert_true(record.vmm_pid > 0);
    assert_fails(web_standby(fixture, &err), &err, ERROR_STATE, "Initializing");
    guest_orders(fixture, record.id, NULL);
    fixture_await(fixture, "web", INSTANCE_RUNNING);
    assert_absent(fixture, record.id, "base/state");
    assert_web_usable(fixture);
}

/* A data directory on a file system of its own that gets full. */
static void fill(const char *path)
{
    static const char block[65536];
    int fd = open(path, O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
    assert_true(fd >= 0);
    size_t size = sizeof(block);
    while (size > 0) {
        if (write(fd, block, size) < 0)
            size /= 2;
    }
    close(fd);
}

static void test_full_disk(void **state)
{
    struct fixture *fixture = *state;
    struct error err = {0};
    char filler[128];
    fixture_close(fixture);
    assert_int_equal(mount("tmpfs", fixture->data, "tmpfs", 0, "size=16m"), 0);
    fixture_open(fixture);
    snprintf(filler, sizeof(filler), "%s/filler", fixture->data);
    fixture_create(fixture, "web");
    web_reach(fixture, INSTANCE_RUNNING);
    fill(filler);
    _cleanup_(free) char *before = listing(fixture->data);
    assert_true(web_standby(fixture, &err) < 0);
    assert_non_null(strstr(err.message, "No space left"));
    assert_fails(do_create(fixture, &err), &err, ERROR_RESOURCES, "");
    _cleanup_(free) char *after = listing(fixture->data);
    assert_string_equal(before, after);
    assert_state(fixture, "web", INSTANCE_RUNNING);
    assert_recalls(fixture, "web", WEB_NOTE);
    assert_int_equal(unlink(filler), 0);
    assert_web_usable(fixture);
    assert_ok(web_standby(fixture, &err), &err);
    fill(filler);
    assert_true(web_fork_asleep(fixture, &err) < 0);
    assert_true(instance_get(fixture->host, "new", NULL, &err) < 0);
    assert_state(fixture, "web", INSTANCE_STANDBY);
    /* Deleting must be possible: it is what helps. */
    assert_ok(instance_delete(fixture->host, "web", &err), &err);
    fixture_close(fixture);
    assert_int_equal(umount(fixture->data), 0);
    fixture_open(fixture);
}

static const struct CMUnitTest tests[] = {
    FIXTURE_TEST(test_every_failpoint),
    FIXTURE_TEST(test_late_failures_are_successes),
    FIXTURE_TEST(test_stop_and_delete_that_fail),
    FIXTURE_TEST(test_restart_after_late_restore_failure_with_a_disk),
    FIXTURE_TEST(test_bad_snapshots),
    FIXTURE_TEST(test_standby_that_the_vmm_refuses),
    FIXTURE_TEST(test_vmm_that_dies_in_standby),
    FIXTURE_TEST(test_vmm_that_is_about_to_die_in_standby),
    FIXTURE_TEST(test_resume_that_the_vmm_refuses),
    FIXTURE_TEST(test_vmm_that_dies_at_resume),
    FIXTURE_TEST(test_agent_that_does_not_answer),
    FIXTURE_TEST(test_agent_that_does_not_answer_with_a_disk),
    FIXTURE_TEST(test_full_disk),
};
FIXTURE_MAIN(tests)
