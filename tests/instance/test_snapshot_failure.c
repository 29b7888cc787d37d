/* SPDX-License-Identifier: Apache-2.0 */
/* Snapshot operations that fail half way: everything is as before, and nothing is left. And what a
 * tined that comes back makes of what it finds in snapshots/. */
#include "fixture.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "listing.h"
#include "store/store.h"

#define NOTE  "as captured"
#define LATER "remembered later"

/* An operation on the instance "web" or on a snapshot of it. */
typedef int operation(struct fixture *fixture, const char *id, struct error *err);

static int create_kind(struct fixture *fixture, enum instance_state kind, struct error *err)
{
    const struct snapshot_create_request request = {.kind = kind, .name = "new"};
    return snapshot_create(fixture->host, "web", &request, NULL, err);
}
static int do_create_standby(struct fixture *fixture, const char *id, struct error *err)
{
    return create_kind(fixture, INSTANCE_STANDBY, err);
}
static int do_create_stopped(struct fixture *fixture, const char *id, struct error *err)
{
    return create_kind(fixture, INSTANCE_STOPPED, err);
}
static int do_fork(struct fixture *fixture, const char *id, struct error *err)
{
    const struct snapshot_target target = {.has_state = true, .state = INSTANCE_RUNNING};
    return snapshot_fork(fixture->host, id, "new", &target, NULL, err);
}
static int restore_to(struct fixture *fixture, const char *id, enum instance_state state,
                      struct error *err)
{
    const struct snapshot_target target = {.has_state = true, .state = state};
    return snapshot_restore(fixture->host, "web", id, &target, NULL, err);
}
static int do_restore(struct fixture *fixture, const char *id, struct error *err)
{
    return restore_to(fixture, id, INSTANCE_RUNNING, err);
}
static int do_restore_off(struct fixture *fixture, const char *id, struct error *err)
{
    return restore_to(fixture, id, INSTANCE_STOPPED, err);
}
static int do_delete(struct fixture *fixture, const char *id, struct error *err)
{
    return snapshot_delete(fixture->host, id, err);
}

#define PUBLISH "stack-publish-before-rename stack-publish-after-rename "
#define CREATE  "snapshot-linked snapshot-recorded snapshot-published "
#define LIVE                                                                     \
    "live-paused live-sealed live-prepared live-made capture-linked live-child " \
    "capture-prepared standby-saved capture-written snapshot-memory "
#define REPLACE                                                                     \
    "snapshot-restore-linked snapshot-restore-recorded stack-exchange-before-sync " \
    "snapshot-restore-exchanged "
#define BOOT "boot-prepared boot-launched boot-recorded boot-ready boot-program "
#define WAKE                                                                            \
    "restore-prepared restore-loaded restore-recorded restore-renamed restore-resumed " \
    "restore-told "

/* Each failpoint on the way of each operation, given web's state and the kind of its snapshot. */
static const struct {
    operation *run;
    enum instance_state from, kind;
    const char *failpoints;
    bool naps; /* the VMM knows no templates */
} walks[] = {
    {do_create_standby, INSTANCE_STANDBY, INSTANCE_STANDBY, CREATE PUBLISH},
    {do_create_standby, INSTANCE_RUNNING, INSTANCE_STANDBY,
     "standby-paused standby-recorded " CREATE, .naps = true},
    {do_create_standby, INSTANCE_RUNNING, INSTANCE_STANDBY, LIVE CREATE PUBLISH},
    {do_create_stopped, INSTANCE_STOPPED, INSTANCE_STOPPED, CREATE PUBLISH},
    {do_fork, INSTANCE_STANDBY, INSTANCE_STANDBY,
     "fork-reserved fork-linked fork-published " PUBLISH WAKE},
    {do_fork, INSTANCE_STOPPED, INSTANCE_STOPPED, "fork-reserved fork-linked fork-published " BOOT},
    {do_restore, INSTANCE_STANDBY, INSTANCE_STANDBY, REPLACE WAKE},
    {do_restore, INSTANCE_STANDBY, INSTANCE_STOPPED, REPLACE BOOT},
    {do_restore, INSTANCE_STOPPED, INSTANCE_STANDBY, REPLACE WAKE},
    {do_restore_off, INSTANCE_STANDBY, INSTANCE_STANDBY, REPLACE},
    {do_delete, INSTANCE_STANDBY, INSTANCE_STANDBY, "delete-renamed "},
};

/* web in that state, remembering LATER if it sleeps or runs; its snapshot remembers NOTE. */
static struct snapshot_record prepare(struct fixture *fixture, enum instance_state from,
                                      enum instance_state kind)
{
    struct snapshot_record record;
    struct error err = {0};
    fixture_create(fixture, "web");
    guest_remember(fixture, "web", NOTE);
    if (kind == INSTANCE_STOPPED)
        assert_ok(instance_stop(fixture->host, "web", 0, NULL, &err), &err);
    record = fixture_snapshot(fixture, "web", kind, "old");
    if (kind == INSTANCE_STOPPED && from != INSTANCE_STOPPED)
        assert_ok(instance_start(fixture->host, "web", NULL, &err), &err);
    if (from != INSTANCE_STOPPED)
        guest_remember(fixture, "web", LATER);
    if (from == INSTANCE_STANDBY)
        assert_ok(instance_standby(fixture->host, "web", NULL, &err), &err);
    else if (from == INSTANCE_STOPPED)
        assert_ok(instance_stop(fixture->host, "web", 0, NULL, &err), &err);
    return record;
}

static size_t count_snapshots(struct fixture *fixture)
{
    const struct snapshot_filter all = {.name = NULL};
    struct snapshot_record *records = NULL;
    size_t count = 0;
    struct error err = {0};
    assert_ok(snapshot_list(fixture->host, &all, &records, &count, &err), &err);
    free(records);
    return count;
}

static void assert_web_usable(struct fixture *fixture)
{
    struct error err = {0};
    struct instance_record record = fixture_get(fixture, "web");
    if (record.state == INSTANCE_STANDBY)
        assert_ok(instance_restore(fixture->host, "web", NULL, &err), &err);
    else if (record.state == INSTANCE_STOPPED)
        assert_ok(instance_start(fixture->host, "web", NULL, &err), &err);
    assert_recalls(fixture, "web", record.state == INSTANCE_STOPPED ? "" : LATER);
}

static void assert_snapshot_usable(struct fixture *fixture, const struct snapshot_record *snapshot)
{
    struct error err = {0};
    assert_ok(do_fork(fixture, snapshot->id, &err), &err);
    assert_recalls(fixture, "new", snapshot->kind == INSTANCE_STOPPED ? "" : NOTE);
    assert_ok(instance_delete(fixture->host, "new", &err), &err);
}

static void walk_one(struct fixture *fixture, operation *run, const char *id,
                     enum instance_state from, const char *failpoint)
{
    struct error err = {0};
    char setting[128];
    const struct instance_record web = fixture_get(fixture, "web");
    const ino_t log = guest_stat(fixture, web.id, "log/requests").st_ino;
    _cleanup_(free) char *before = listing(fixture->dir);
    snprintf(setting, sizeof(setting), "%s=EIO", failpoint);
    setenv("TINE_FAILPOINT", setting, 1);
    int r = run(fixture, id, &err);
    setenv("TINE_FAILPOINT", "", 1);
    if (r == 0)
        print_error("%s was not on the way\n", failpoint);
    assert_int_equal(r, -EIO);
    assert_non_null(strstr(err.message, "EIO"));
    assert_state(fixture, "web", from);
    assert_true(instance_get(fixture->host, "new", NULL, &err) < 0);
    assert_int_equal(count_snapshots(fixture), 1);
    _cleanup_(free) char *after = listing(fixture->dir);
    assert_string_equal(before, after);
    assert_int_equal(guest_stat(fixture, web.id, "log/requests").st_ino, log);
}

static void test_every_failpoint(void **state)
{
    struct fixture *fixture = *state;
    struct error err = {0};
    for (size_t i = 0; i < ARRAY_SIZE(walks); i++) {
        char points[512], *saved = NULL;
        snprintf(points, sizeof(points), "%s", walks[i].failpoints);
        struct snapshot_record snapshot = prepare(fixture, walks[i].from, walks[i].kind);
        if (walks[i].naps)
            guest_orders(fixture, fixture_get(fixture, "web").id, "no-templates");
        for (char *name = strtok_r(points, " ", &saved); name; name = strtok_r(NULL, " ", &saved)) {
            /* The source is woken again, from a new base. */
            if (walks[i].from == INSTANCE_RUNNING) {
                assert_ok(instance_standby(fixture->host, "web", NULL, &err), &err);
                assert_ok(instance_restore(fixture->host, "web", NULL, &err), &err);
            }
            walk_one(fixture, walks[i].run, snapshot.id, walks[i].from, name);
        }
        assert_web_usable(fixture);
        assert_snapshot_usable(fixture, &snapshot);
        assert_ok(instance_delete(fixture->host, "web", &err), &err);
        assert_ok(snapshot_delete(fixture->host, snapshot.id, &err), &err);
    }
}

/* The source of a snapshot that can't be woken again: it is in Standby, and no snapshot is left. */
static void test_source_that_can_not_be_woken(void **state)
{
    struct fixture *fixture = *state;
    struct error err = {0};
    guest_orders(fixture, fixture_create(fixture, "web").id, "no-templates");
    guest_remember(fixture, "web", LATER);
    setenv("TINE_FAILPOINT", "restore-loaded=EIO", 1);
    int r = do_create_standby(fixture, NULL, &err);
    setenv("TINE_FAILPOINT", "", 1);
    assert_fails(r, &err, ERROR_SYSTEM, "could not be woken again and is now Standby");
    assert_int_equal(count_snapshots(fixture), 0);
    assert_state(fixture, "web", INSTANCE_STANDBY);
    assert_web_usable(fixture);
}

/* Past the point of no return a failure is only a warning; the rest is swept. */
static void test_late_failures_are_successes(void **state)
{
    struct fixture *fixture = *state;
    struct error err = {0};
    struct snapshot_record snapshot = prepare(fixture, INSTANCE_STANDBY, INSTANCE_STANDBY);
    setenv("TINE_FAILPOINT", "snapshot-restore-reached=EIO", 1);
    assert_ok(do_restore(fixture, snapshot.id, &err), &err);
    assert_recalls(fixture, "web", NOTE);
    setenv("TINE_FAILPOINT", "delete-forgotten=EIO", 1);
    assert_ok(do_delete(fixture, snapshot.id, &err), &err);
    setenv("TINE_FAILPOINT", "", 1);
    _cleanup_(free) char *left = listing(fixture->data);
    assert_non_null(strstr(left, ".tine-tmp-"));
    fixture_reopen(fixture);
    _cleanup_(free) char *swept = listing(fixture->data);
    assert_null(strstr(swept, ".tine-tmp-"));
}

static void test_missing_files(void **state)
{
    struct fixture *fixture = *state;
    struct snapshot_record snapshot = prepare(fixture, INSTANCE_STANDBY, INSTANCE_STANDBY);
    static const struct {
        const char *name, *words;
    } cases[] = {
        {GUEST_SNAPSHOT "/" SNAPSHOT_MEMORY, "snapshot/memory"},
        {GUEST_SNAPSHOT, "snapshot"},
        {"disks/0.img", "disks/0.img"},
        {GUEST_KERNEL, "boot/kernel"},
    };
    operation *const runs[] = {do_fork, do_restore};
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        const struct path path = snapshot_path(fixture, snapshot.id, cases[i].name);
        const struct path away = snapshot_path(fixture, snapshot.id, "away");
        assert_int_equal(rename(path.text, away.text), 0);
        for (size_t n = 0; n < ARRAY_SIZE(runs); n++) {
            struct error err = {0};
            _cleanup_(free) char *before = listing(fixture->data);
            assert_fails(runs[n](fixture, snapshot.id, &err), &err, ERROR_SYSTEM, cases[i].words);
            assert_non_null(strstr(err.message, snapshot.id));
            _cleanup_(free) char *after = listing(fixture->data);
            assert_string_equal(before, after);
            assert_state(fixture, "web", INSTANCE_STANDBY);
        }
        assert_int_equal(rename(away.text, path.text), 0);
    }
    assert_snapshot_usable(fixture, &snapshot);
}

/* A memory file that was cut: a fork is removed whole, a restore in place undone. */
static void test_cut_memory(void **state)
{
    struct fixture *fixture = *state;
    struct snapshot_record snapshot = prepare(fixture, INSTANCE_STANDBY, INSTANCE_STANDBY);
    const struct path path = snapshot_path(fixture, snapshot.id, GUEST_SNAPSHOT "/memory");
    struct error err = {0};
    _cleanup_(free) char *before = listing(fixture->data);
    assert_int_equal(truncate(path.text, FIXTURE_MEMORY / 2), 0);
    assert_fails(do_fork(fixture, snapshot.id, &err), &err, ERROR_CORRUPT, "snapshot/memory");
    assert_fails(do_restore(fixture, snapshot.id, &err), &err, ERROR_CORRUPT, "snapshot/memory");
    _cleanup_(free) char *after = listing(fixture->data);
    assert_string_equal(before, after);
    assert_web_usable(fixture);
}

static void test_recovery_of_missing_directories(void **state)
{
    struct fixture *fixture = *state;
    struct error err = {0};
    struct snapshot_record gone = prepare(fixture, INSTANCE_STANDBY, INSTANCE_STANDBY);
    struct snapshot_record half = fixture_snapshot(fixture, "web", INSTANCE_STANDBY, "half");
    struct snapshot_record kept = fixture_snapshot(fixture, "web", INSTANCE_STANDBY, "kept");
    char away[320];
    const struct path of_gone = snapshot_path(fixture, gone.id, "");
    const struct path of_half = snapshot_path(fixture, half.id, "");
    snprintf(away, sizeof(away), "%s/gone", fixture->dir);
    assert_int_equal(rename(of_gone.text, away), 0);
    snprintf(away, sizeof(away), "%s/snapshots/%s.tine-tmp-0123456789abcdef", fixture->data,
             half.id);
    assert_int_equal(rename(of_half.text, away), 0);
    fixture_reopen(fixture);
    assert_int_equal(count_snapshots(fixture), 1);
    assert_int_equal(access(away, F_OK), -1);
    assert_ok(snapshot_get(fixture->host, kept.id, &kept, &err), &err);
    assert_int_equal(snapshot_stat(fixture, kept.id, GUEST_SNAPSHOT "/memory").st_nlink, 2);
    /* The name is free again. */
    fixture_snapshot(fixture, "web", INSTANCE_STANDBY, "half");
}

static void test_strangers_are_left_alone(void **state)
{
    struct fixture *fixture = *state;
    struct snapshot_record made = prepare(fixture, INSTANCE_STANDBY, INSTANCE_STANDBY);
    char database[128];
    struct error err = {0};
    fixture_close(fixture);
    snprintf(database, sizeof(database), "%s/tine.db", fixture->data);
    struct store *store = store_open(database, &err);
    assert_ok(store_snapshot_delete(store, made.id, &err), &err);
    fixture_open(fixture);
    assert_int_equal(count_snapshots(fixture), 0);
    snapshot_stat(fixture, made.id, GUEST_SNAPSHOT "/memory");
    fixture_close(fixture);
    assert_ok(store_snapshot_insert(store, &made, &err), &err);
    store_close(store);
    fixture_open(fixture);
    assert_snapshot_usable(fixture, &made);
}

/* One that can't be looked at keeps nobody from being served. */
static void test_directory_that_is_none(void **state)
{
    struct fixture *fixture = *state;
    struct error err = {0};
    struct snapshot_record made = prepare(fixture, INSTANCE_STANDBY, INSTANCE_STANDBY);
    char away[320];
    const struct path path = snapshot_path(fixture, made.id, "");
    char file[320];
    snprintf(file, sizeof(file), "%s/snapshots/%s", fixture->data, made.id);
    snprintf(away, sizeof(away), "%s/away", fixture->dir);
    assert_int_equal(rename(path.text, away), 0);
    file_make(file, "no directory", 0);
    fixture_reopen(fixture);
    assert_int_equal(count_snapshots(fixture), 1);
    assert_fails(do_fork(fixture, made.id, &err), &err, ERROR_SYSTEM, "ENOTDIR");
    assert_web_usable(fixture);
}

static const struct CMUnitTest tests[] = {
    FIXTURE_TEST(test_every_failpoint),
    FIXTURE_TEST(test_source_that_can_not_be_woken),
    FIXTURE_TEST(test_late_failures_are_successes),
    FIXTURE_TEST(test_missing_files),
    FIXTURE_TEST(test_cut_memory),
    FIXTURE_TEST(test_recovery_of_missing_directories),
    FIXTURE_TEST(test_strangers_are_left_alone),
    FIXTURE_TEST(test_directory_that_is_none),
};
FIXTURE_MAIN(tests)
