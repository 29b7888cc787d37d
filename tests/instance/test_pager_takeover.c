/* SPDX-License-Identifier: Apache-2.0 */
/* Pagers and tineds that end while VMs run on them. Every page is looked at. */
#include "pager_site.h"

#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/clock.h"
#include "space.h"

#define FORKS 6
#define KILLS 12

static void test_pager_is_replaced(void **state)
{
    struct site *site = *state;
    struct events_reader reader = events_read(host_events(site->fixture->host), EVENTS_FROM_NOW);
    site_fork(site, "source", "one");
    pid_t first = pager_pid(site, SITE_VERSION);
    pager_kill(site, SITE_VERSION);
    assert_holds(site, "one", SITE_TOKEN);
    assert_int_not_equal(pager_pid(site, SITE_VERSION), first);
    assert_string_equal(await_event(&reader, "pager-replaced").instance_name, "one");
    assert_true(site_metric(site, "tine_pager_takeovers_total{result=\"ok\"}") == 1);
    assert_state(site->fixture, "one", INSTANCE_RUNNING);
    site_standby(site, "one");
    assert_int_equal(pager_sessions(site, SITE_VERSION), 0);
}

/* Guests that go on touching their memory, and siblings that are made meanwhile. */
struct load {
    struct site *site;
    atomic_bool stopping;
    atomic_uint rounds;
    struct error err;
    int result;
};

static void *load_run(void *context)
{
    struct load *load = context;
    for (unsigned i = 0; load->result == 0 && !atomic_load(&load->stopping); i++) {
        char name[32];
        const struct instance_fork_request request = {
            .name = name, .has_target = true, .target = INSTANCE_RUNNING};
        struct host *host = load->site->fixture->host;
        snprintf(name, sizeof(name), "load-%u", i);
        load->result = instance_fork(host, "source", &request, NULL, &load->err);
        if (load->result == 0)
            load->result = guest_pattern(host, name, "check", SITE_TOKEN, SITE_TOKEN, &load->err);
        if (load->result == 0 && i % 2 == 1)
            load->result = instance_delete(host, name, &load->err);
        atomic_fetch_add(&load->rounds, 1);
    }
    return NULL;
}

/* A restore whose pager ends in the middle may fail, whole; everything else goes on. */
static bool is_excused(const struct load *load)
{
    return strstr(load->err.message, "pager") || strstr(load->err.message, "session") ||
           strstr(load->err.message, "VMM");
}

static void test_pager_is_killed_under_load(void **state)
{
    struct site *site = *state;
    struct load load = {.site = site};
    pthread_t thread;
    for (unsigned i = 0; i < FORKS; i++) {
        char name[16];
        snprintf(name, sizeof(name), "fork-%u", i);
        site_fork(site, "source", name);
    }
    for (unsigned i = 0; i < KILLS; i++) {
        struct load next = {.site = site};
        load = next;
        assert_int_equal(pthread_create(&thread, NULL, load_run, &load), 0);
        while (atomic_load(&load.rounds) == 0)
            time_sleep_ms(1);
        pager_kill(site, SITE_VERSION);
        char name[16];
        snprintf(name, sizeof(name), "fork-%u", i % FORKS);
        assert_holds(site, name, SITE_TOKEN);
        atomic_store(&load.stopping, true);
        pthread_join(thread, NULL);
        if (load.result < 0 && !is_excused(&load))
            fail_msg("%s", load.err.message);
        for (unsigned k = 0; k < 64; k++) {
            snprintf(name, sizeof(name), "load-%u", k);
            instance_delete(site->fixture->host, name, NULL);
        }
    }
    for (unsigned i = 0; i < FORKS; i++) {
        char name[16];
        snprintf(name, sizeof(name), "fork-%u", i);
        assert_holds(site, name, SITE_TOKEN);
        assert_state(site->fixture, name, INSTANCE_RUNNING);
    }
    assert_true(site_metric(site, "tine_pager_sessions_lost_total") == 0);
}

/* What the next tined finds: a pager that lives, whose sessions it takes up. */
static void test_tined_starts_anew(void **state)
{
    struct site *site = *state;
    site_fork(site, "source", "one");
    site_fork(site, "source", "two");
    site_reopen(site);
    await_pager(site, "one", "serving");
    assert_int_equal(pager_sessions(site, SITE_VERSION), 2);
    assert_holds(site, "one", SITE_TOKEN);
    pager_kill(site, SITE_VERSION);
    assert_holds(site, "two", SITE_TOKEN);
    await_takeovers(site, "one", 1);
    site_standby(site, "two");
    assert_int_equal(pager_sessions(site, SITE_VERSION), 1);
}

/* VMs that ended, or were deleted, while no tined ran. */
static void test_sessions_without_vms_are_ended(void **state)
{
    struct site *site = *state;
    struct instance_record one = site_fork(site, "source", "one");
    site_fork(site, "source", "two");
    fixture_close(site->fixture);
    assert_int_equal(kill(one.vmm_pid, SIGKILL), 0);
    fixture_open(site->fixture);
    assert_state(site->fixture, "one", INSTANCE_STOPPED);
    assert_int_equal(pager_sessions(site, SITE_VERSION), 1);
    assert_holds(site, "two", SITE_TOKEN);
}

static void test_both_end_at_once(void **state)
{
    struct site *site = *state;
    struct error err = {0};
    site_fork(site, "source", "one");
    site_fork(site, "source", "two");
    fixture_close(site->fixture);
    pager_kill(site, SITE_VERSION);
    fixture_open(site->fixture);
    struct instance_record record = fixture_get(site->fixture, "one");
    assert_int_equal(record.state, INSTANCE_UNKNOWN);
    assert_non_null(strstr(record.state_error, "nobody holds its userfaultfd"));
    assert_non_null(strstr(record.state_error, "delete it"));
    assert_string_equal(record.pager_status.state, "lost");
    assert_fails(instance_standby(site->fixture->host, "one", NULL, &err), &err, ERROR_STATE,
                 "nobody holds its userfaultfd");
    site_reopen(site);
    assert_int_equal(fixture_get(site->fixture, "one").state, INSTANCE_UNKNOWN);
    assert_ok(instance_delete(site->fixture->host, "one", &err), &err);
    site_fork(site, "source", "three");
    assert_holds(site, "three", SITE_TOKEN);
}

/* Its image is not what it was: no page is answered with anything else, and everybody is told. */
static void test_image_is_truncated(void **state)
{
    struct site *site = *state;
    struct instance_record one = site_fork(site, "source", "one");
    struct path path = guest_path(site->fixture, one.id, "base/memory");
    assert_int_equal(truncate(path.text, 4096), 0);
    const char *const argv[] = {"check", "7001", "7001", NULL}; /* SITE_TOKEN */
    const struct agent_exec exec = {.argv = argv};
    struct error err = {0};
    _cleanup_(close) int fd = instance_exec(site->fixture->host, "one", &exec, &err);
    assert_true(fd >= 0);
    await_unknown(site, "one");
    struct instance_record record = fixture_get(site->fixture, "one");
    assert_non_null(strstr(record.state_error, "delete it"));
    assert_string_equal(record.pager_status.state, "lost");
    assert_true(site_metric(site, "tine_pager_sessions_lost_total") == 1);
}

/* A pager that can't be replaced for a while: the VM waits, is said to be Unknown, and is well
 * again when it works. */
static void test_takeover_fails_for_a_while(void **state)
{
    struct site *site = *state;
    site_fork(site, "source", "one");
    setenv("TINE_FAILPOINT", "paging-takeover=EIO", 1);
    pager_kill(site, SITE_VERSION);
    await_unknown(site, "one");
    struct instance_record record = fixture_get(site->fixture, "one");
    assert_non_null(strstr(record.state_error, "can't be taken over"));
    setenv("TINE_FAILPOINT", "", 1);
    fixture_await(site->fixture, "one", INSTANCE_RUNNING);
    assert_holds(site, "one", SITE_TOKEN);
    assert_true(site_metric(site, "tine_pager_takeovers_total{result=\"error\"}") > 1);
}

static void test_vm_ends_before_the_takeover(void **state)
{
    struct site *site = *state;
    struct error err = {0};
    site_fork(site, "source", "one");
    site_fork(site, "source", "two");
    setenv("TINE_FAILPOINT", "paging-takeover=EIO", 1);
    pager_kill(site, SITE_VERSION);
    assert_ok(instance_delete(site->fixture->host, "one", &err), &err);
    setenv("TINE_FAILPOINT", "", 1);
    assert_holds(site, "two", SITE_TOKEN);
    assert_int_equal(pager_sessions(site, SITE_VERSION), 1);
}

#define PAGER_TEST(name) cmocka_unit_test_setup_teardown(name, site_setup, site_teardown)

static const struct CMUnitTest tests[] = {
    PAGER_TEST(test_pager_is_replaced),          PAGER_TEST(test_pager_is_killed_under_load),
    PAGER_TEST(test_tined_starts_anew),          PAGER_TEST(test_sessions_without_vms_are_ended),
    PAGER_TEST(test_both_end_at_once),           PAGER_TEST(test_image_is_truncated),
    PAGER_TEST(test_takeover_fails_for_a_while), PAGER_TEST(test_vm_ends_before_the_takeover),
};

FIXTURE_MAIN(tests)
