/* SPDX-License-Identifier: Apache-2.0 */
/* VMs that leave their pager while they run, and pagers of another version that end. */
#include "pager_site.h"

#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/clock.h"
#include "space.h"

#define FORKS 4

static int setup(void **state)
{
    const struct paging_graduation soon = {.after_ms = 1, .at_once = 2};
    *state = site_new(&soon);
    return 0;
}

static void test_graduate_is_a_vm_like_others(void **state)
{
    struct site *site = *state;
    struct events_reader reader = events_read(host_events(site->fixture->host), EVENTS_FROM_NOW);
    struct instance_record one = site_fork(site, "source", "one");
    await_pager(site, "one", "");
    assert_string_equal(await_event(&reader, "graduated").instance_name, "one");
    await_no_session(site, SITE_VERSION);
    assert_true(site_metric(site, "tine_pager_graduations_total{result=\"ok\"}") == 1);
    pager_kill(site, SITE_VERSION);
    assert_holds(site, "one", SITE_TOKEN);
    assert_int_equal(pager_pid(site, SITE_VERSION), 0);
    /* A standby may write into its base again. */
    struct error err = {0};
    assert_ok(instance_delete(site->fixture->host, "source", &err), &err);
    struct stat before = guest_stat(site->fixture, one.id, "base/memory");
    site_fill(site, "one", SITE_TOKEN + 1);
    site_standby(site, "one");
    assert_int_equal(guest_stat(site->fixture, one.id, "snapshot/memory").st_ino, before.st_ino);
    site_restore(site, "one");
    assert_holds(site, "one", SITE_TOKEN + 1);
}

/* A new tined finds a VM whose pager has done its work and ended. */
static void test_graduate_whose_pager_ended(void **state)
{
    struct site *site = *state;
    site_fork(site, "source", "one");
    await_pager(site, "one", "");
    fixture_close(site->fixture);
    site_sql(site, "UPDATE instances SET paged = 1 WHERE name = 'one'");
    pager_kill(site, SITE_VERSION);
    fixture_open(site->fixture);
    assert_state(site->fixture, "one", INSTANCE_RUNNING);
    assert_false(fixture_get(site->fixture, "one").paged);
    assert_holds(site, "one", SITE_TOKEN);
}

struct load {
    struct site *site;
    atomic_bool stopping;
    struct error err;
    int result;
};

static void *load_run(void *context)
{
    struct load *load = context;
    for (unsigned i = 0; load->result == 0 && !atomic_load(&load->stopping); i++) {
        char name[16];
        snprintf(name, sizeof(name), "fork-%u", i % FORKS);
        load->result = guest_pattern(load->site->fixture->host, name, "check", SITE_TOKEN,
                                     SITE_TOKEN, &load->err);
    }
    return NULL;
}

static void test_graduation_under_load(void **state)
{
    struct site *site = *state;
    struct load load = {.site = site};
    pthread_t thread;
    for (unsigned i = 0; i < FORKS; i++) {
        char name[16];
        snprintf(name, sizeof(name), "fork-%u", i);
        site_fork(site, "source", name);
    }
    assert_int_equal(pthread_create(&thread, NULL, load_run, &load), 0);
    pager_kill(site, SITE_VERSION);
    for (unsigned i = 0; i < FORKS; i++) {
        char name[16];
        snprintf(name, sizeof(name), "fork-%u", i);
        await_pager(site, name, "");
    }
    atomic_store(&load.stopping, true);
    pthread_join(thread, NULL);
    assert_string_equal(load.err.message, "");
    await_no_session(site, SITE_VERSION);
}

static void test_graduation_fails(void **state)
{
    struct site *site = *state;
    setenv("TINE_FAILPOINT", "paging-graduate=EIO", 1);
    site_fork(site, "source", "one");
    for (unsigned i = 0; site_metric(site, "tine_pager_graduations_total{result=\"error\"}") < 1;
         i++) {
        assert_true(i < 6000);
        time_sleep_ms(10);
    }
    setenv("TINE_FAILPOINT", "", 1);
    struct instance_record record = fixture_get(site->fixture, "one");
    assert_true(record.paged);
    assert_string_equal(record.pager_status.state, "serving");
    assert_non_null(strstr(record.pager_status.reason, "paging-graduate"));
    assert_holds(site, "one", SITE_TOKEN);
}

/* ---- upgrade ---- */

static void upgrade(struct site *site)
{
    site_fork(site, "source", "old-1");
    site_fork(site, "source", "old-2");
    assert_int_equal(pager_sessions(site, SITE_VERSION), 2);
    site_upgrade(site, SITE_NEXT);
    site_reopen(site);
    assert_string_equal(site_fork(site, "source", "new").pager_status.version, SITE_NEXT);
}

static void assert_all_hold(struct site *site)
{
    static const char *const names[] = {"old-1", "old-2", "new"};
    for (size_t i = 0; i < ARRAY_SIZE(names); i++) {
        assert_holds(site, names[i], SITE_TOKEN);
        assert_state(site->fixture, names[i], INSTANCE_RUNNING);
    }
}

static void test_upgrade_by_graduation(void **state)
{
    struct site *site = *state;
    upgrade(site);
    await_pager(site, "old-1", "");
    await_pager(site, "old-2", "");
    await_pager_end(site, SITE_VERSION);
    assert_all_hold(site);
}

/* Nothing is to graduate: the sessions move. */
static void test_upgrade_by_moving(void **state)
{
    struct site *site = *state;
    upgrade(site);
    await_pager_end(site, SITE_VERSION);
    await_takeovers(site, "old-1", 1);
    await_takeovers(site, "old-2", 1);
    assert_string_equal(fixture_get(site->fixture, "old-1").pager_status.version, SITE_NEXT);
    assert_int_equal(pager_sessions(site, SITE_NEXT), 3);
    assert_all_hold(site);
    pager_kill(site, SITE_NEXT);
    assert_all_hold(site);
}

static void test_old_pager_is_killed(void **state)
{
    struct site *site = *state;
    upgrade(site);
    pager_kill(site, SITE_VERSION);
    assert_all_hold(site);
    assert_int_equal(pager_pid(site, SITE_VERSION), 0);
}

static const struct CMUnitTest tests[] = {
    cmocka_unit_test_setup_teardown(test_graduate_is_a_vm_like_others, setup, site_teardown),
    cmocka_unit_test_setup_teardown(test_graduate_whose_pager_ended, setup, site_teardown),
    cmocka_unit_test_setup_teardown(test_graduation_under_load, setup, site_teardown),
    cmocka_unit_test_setup_teardown(test_graduation_fails, setup, site_teardown),
    cmocka_unit_test_setup_teardown(test_upgrade_by_graduation, setup, site_teardown),
    cmocka_unit_test_setup_teardown(test_upgrade_by_moving, site_setup, site_teardown),
    cmocka_unit_test_setup_teardown(test_old_pager_is_killed, site_setup, site_teardown),
};

FIXTURE_MAIN(tests)
