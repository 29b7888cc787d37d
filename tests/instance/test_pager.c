/* SPDX-License-Identifier: Apache-2.0 */
/* Forks whose memory comes from a real pager: their life, what their standby does to the image, and
 * that nothing that happens to the source touches them. */
#include "pager_site.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/file.h"

#define OTHER_TOKEN 7002

static void test_first_restore_is_through_the_pager(void **state)
{
    struct site *site = *state;
    assert_int_equal(pager_pid(site, SITE_VERSION), 0);
    struct instance_record fork = site_fork(site, "source", "one");
    assert_true(was_paged(site, &fork));
    assert_true(pager_pid(site, SITE_VERSION) > 0);
    assert_int_equal(pager_sessions(site, SITE_VERSION), 1);
    assert_holds(site, "one", SITE_TOKEN);
    fork = fixture_get(site->fixture, "one");
    assert_string_equal(fork.pager_status.state, "serving");
    assert_string_equal(fork.pager_status.version, SITE_VERSION);
    assert_absent(site->fixture, fork.id, "run/pager.sock");
    assert_true(site_metric(site, "tine_pager_sessions_total") == 1);
    assert_true(site_metric(site, "tine_pagers_started_total") == 1);
    assert_true(site_metric(site, "tine_pager_sessions{state=\"serving\"}") == 1);
}

/* A fork in Standby is restored by whoever wakes it; one that has been restored once, or was never
 * a fork, maps its file. */
static void test_later_restores_map_the_file(void **state)
{
    struct site *site = *state;
    site_restore(site, "source");
    assert_false(fixture_get(site->fixture, "source").paged);
    site_standby(site, "source");
    fixture_fork(site->fixture, "source", "one", INSTANCE_STANDBY);
    site_restore(site, "one");
    struct instance_record record = fixture_get(site->fixture, "one");
    assert_true(record.paged);
    site_standby(site, "one");
    assert_int_equal(pager_sessions(site, SITE_VERSION), 0);
    assert_false(fixture_get(site->fixture, "one").paged);
    site_restore(site, "one");
    assert_false(fixture_get(site->fixture, "one").paged);
    assert_holds(site, "one", SITE_TOKEN);
    site_standby(site, "one");
    site_fork(site, "one", "two");
    assert_holds(site, "two", SITE_TOKEN);
}

static void test_backend_file_needs_no_pager(void **state)
{
    static const enum memory_backend backends[] = {MEMORY_FILE, MEMORY_AUTO};
    struct site *site = *state;
    for (size_t i = 0; i < ARRAY_SIZE(backends); i++) {
        char name[16];
        site->fixture->pager.backend = backends[i];
        site_reopen(site);
        snprintf(name, sizeof(name), "fork-%zu", i);
        assert_false(fixture_fork(site->fixture, "source", name, INSTANCE_RUNNING).paged);
        assert_holds(site, name, SITE_TOKEN);
    }
    assert_int_equal(pager_pid(site, SITE_VERSION), 0);
}

/* The standby of a VM that is paged writes a fresh file: its pager, and whoever else has a name of
 * the image, goes on reading the old one. */
static void test_standby_leaves_the_image_alone(void **state)
{
    struct site *site = *state;
    struct instance_record one = site_fork(site, "source", "one");
    site_fork(site, "source", "two");
    struct error err = {0};
    assert_ok(instance_delete(site->fixture->host, "source", &err), &err);
    struct stat before = guest_stat(site->fixture, one.id, "base/memory");
    site_fill(site, "one", OTHER_TOKEN);
    site_standby(site, "one");
    struct stat after = guest_stat(site->fixture, one.id, "snapshot/memory");
    assert_int_not_equal(before.st_ino, after.st_ino);
    assert_holds(site, "two", SITE_TOKEN);
    site_restore(site, "one");
    assert_holds(site, "one", OTHER_TOKEN);
    /* Alone with its image, too. */
    site_standby(site, "two");
    site_restore(site, "two");
    assert_holds(site, "two", SITE_TOKEN);
}

static void test_a_standby_that_fails_leaves_it_paged(void **state)
{
    struct site *site = *state;
    struct error err = {0};
    site_fork(site, "source", "one");
    setenv("TINE_FAILPOINT", "standby-recorded=EIO", 1);
    assert_int_equal(instance_standby(site->fixture->host, "one", NULL, &err), -EIO);
    setenv("TINE_FAILPOINT", "", 1);
    await_pager(site, "one", "serving");
    assert_state(site->fixture, "one", INSTANCE_RUNNING);
    assert_holds(site, "one", SITE_TOKEN);
}

static void test_source_and_snapshot_are_deleted(void **state)
{
    struct site *site = *state;
    struct error err = {0};
    struct instance_record record;
    const struct snapshot_target running = {.has_state = true, .state = INSTANCE_RUNNING};
    struct snapshot_record snapshot =
        fixture_snapshot(site->fixture, "source", INSTANCE_STANDBY, "s");
    site_fork(site, "source", "one");
    assert_ok(snapshot_fork(site->fixture->host, snapshot.id, "two", &running, &record, &err),
              &err);
    assert_true(record.paged);
    assert_ok(instance_delete(site->fixture->host, "source", &err), &err);
    assert_ok(snapshot_delete(site->fixture->host, snapshot.id, &err), &err);
    assert_holds(site, "one", SITE_TOKEN);
    pager_kill(site, SITE_VERSION);
    assert_holds(site, "two", SITE_TOKEN);
    assert_holds(site, "one", SITE_TOKEN);
}

static void test_cache_key_is_inherited(void **state)
{
    struct site *site = *state;
    struct instance_record source = fixture_get(site->fixture, "source");
    assert_int_equal(strlen(source.cache_key), 32);
    struct instance_record one = site_fork(site, "source", "one");
    assert_string_equal(one.cache_key, source.cache_key);
    struct snapshot_record snapshot =
        fixture_snapshot(site->fixture, "source", INSTANCE_STANDBY, "s");
    assert_string_equal(snapshot.source.cache_key, source.cache_key);
    struct instance_record two;
    struct error err = {0};
    const struct snapshot_target running = {.has_state = true, .state = INSTANCE_RUNNING};
    assert_ok(snapshot_fork(site->fixture->host, snapshot.id, "two", &running, &two, &err), &err);
    assert_string_equal(two.cache_key, source.cache_key);
    site_standby(site, "one");
    one = fixture_get(site->fixture, "one");
    assert_int_equal(strlen(one.cache_key), 32);
    assert_string_not_equal(one.cache_key, source.cache_key);
    site_restore(site, "source");
    assert_string_equal(fixture_get(site->fixture, "source").cache_key, source.cache_key);
    site_standby(site, "source");
    assert_string_not_equal(fixture_get(site->fixture, "source").cache_key, source.cache_key);
}

/* A row of an older tined, whose images have no key yet. */
static void test_image_without_a_key_gets_one(void **state)
{
    struct site *site = *state;
    fixture_close(site->fixture);
    site_sql(site, "UPDATE instances SET cache_key = ''");
    fixture_open(site->fixture);
    struct instance_record one = site_fork(site, "source", "one");
    assert_int_equal(strlen(one.cache_key), 32);
    assert_holds(site, "one", SITE_TOKEN);
}

/* However the VM ends, its session does. */
static void test_session_ends_with_its_vm(void **state)
{
    struct site *site = *state;
    struct error err = {0};
    site_fork(site, "source", "one");
    site_fork(site, "source", "two");
    struct instance_record three = site_fork(site, "source", "three");
    assert_int_equal(pager_sessions(site, SITE_VERSION), 3);
    assert_ok(instance_delete(site->fixture->host, "one", &err), &err);
    assert_int_equal(pager_sessions(site, SITE_VERSION), 2);
    assert_ok(instance_stop(site->fixture->host, "two", 0, NULL, &err), &err);
    assert_int_equal(pager_sessions(site, SITE_VERSION), 1);
    assert_int_equal(kill(three.vmm_pid, SIGKILL), 0);
    fixture_await(site->fixture, "three", INSTANCE_STOPPED);
    assert_int_equal(pager_sessions(site, SITE_VERSION), 0);
    assert_false(fixture_get(site->fixture, "three").paged);
}

#define PAGER_TEST(name) cmocka_unit_test_setup_teardown(name, site_setup, site_teardown)

static const struct CMUnitTest tests[] = {
    PAGER_TEST(test_first_restore_is_through_the_pager),
    PAGER_TEST(test_later_restores_map_the_file),
    PAGER_TEST(test_backend_file_needs_no_pager),
    PAGER_TEST(test_standby_leaves_the_image_alone),
    PAGER_TEST(test_a_standby_that_fails_leaves_it_paged),
    PAGER_TEST(test_source_and_snapshot_are_deleted),
    PAGER_TEST(test_cache_key_is_inherited),
    PAGER_TEST(test_image_without_a_key_gets_one),
    PAGER_TEST(test_session_ends_with_its_vm),
};

FIXTURE_MAIN(tests)
