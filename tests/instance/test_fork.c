/* SPDX-License-Identifier: Apache-2.0 */
/* Forks and who owns what: the rules R1 to R5, seen by inode and link count. */
#include "fixture.h"

#include <fcntl.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/clock.h"
#include "base/file.h"
#include "instance/host.h"

#define MEMORY_FILE GUEST_SNAPSHOT "/" SNAPSHOT_MEMORY
#define BASE_FILE   GUEST_BASE "/" SNAPSHOT_MEMORY
#define FORKS       25

static void standby(struct fixture *fixture, const char *reference)
{
    struct error err = {0};
    assert_ok(instance_standby(fixture->host, reference, NULL, &err), &err);
}

static void restore(struct fixture *fixture, const char *reference)
{
    struct error err = {0};
    assert_ok(instance_restore(fixture->host, reference, NULL, &err), &err);
}

static void discard(struct fixture *fixture, const char *reference)
{
    struct error err = {0};
    assert_ok(instance_delete(fixture->host, reference, &err), &err);
}

static struct instance_record sleeping_source(struct fixture *fixture)
{
    struct instance_record source = fixture_create(fixture, "source");
    guest_remember(fixture, "source", "from the source");
    standby(fixture, "source");
    return source;
}

static void test_fork_of_standby(void **state)
{
    struct fixture *fixture = *state;
    struct instance_record source = sleeping_source(fixture);
    struct instance_record fork = fixture_fork(fixture, "source", "fork", INSTANCE_RUNNING);
    assert_string_not_equal(fork.id, source.id);
    assert_string_equal(fork.parent_id, source.id);
    assert_int_equal(fork.state, INSTANCE_RUNNING);
    assert_string_equal(fork.memory_method, "link");
    assert_int_equal(fork.memory_bytes_copied, 0);
    assert_true(fork.disk_bytes_copied < 1 << 20);
    assert_recalls(fixture, "fork", "from the source");
    _cleanup_(free) char *hostname = guest_run(fixture, "fork", "hostname", NULL);
    assert_string_equal(hostname, "fork");
    assert_state(fixture, "source", INSTANCE_STANDBY);

    /* One inode for what nobody writes, private ones for the rest. */
    struct stat base = guest_stat(fixture, fork.id, BASE_FILE);
    assert_int_equal(base.st_ino, guest_stat(fixture, source.id, MEMORY_FILE).st_ino);
    assert_int_equal(base.st_nlink, 2);
    assert_int_equal(guest_stat(fixture, fork.id, GUEST_KERNEL).st_ino,
                     guest_stat(fixture, source.id, GUEST_KERNEL).st_ino);
    assert_int_equal(guest_stat(fixture, fork.id, "disks/1.img").st_ino,
                     guest_stat(fixture, source.id, "disks/1.img").st_ino);
    assert_int_equal(guest_stat(fixture, fork.id, "disks/0.img").st_nlink, 1);
    assert_int_equal(guest_stat(fixture, source.id, "disks/0.img").st_nlink, 1);
}

static void test_default_target_is_the_sources_state(void **state)
{
    struct fixture *fixture = *state;
    struct error err = {0};
    struct instance_record record;
    fixture_create(fixture, "source");
    struct instance_fork_request request = {.name = "of-running", .from_running = true};
    assert_ok(instance_fork(fixture->host, "source", &request, &record, &err), &err);
    assert_int_equal(record.state, INSTANCE_RUNNING);
    standby(fixture, "source");
    request.name = "of-standby";
    assert_ok(instance_fork(fixture->host, "source", &request, &record, &err), &err);
    assert_int_equal(record.state, INSTANCE_STANDBY);
    restore(fixture, "source");
    assert_ok(instance_stop(fixture->host, "source", 0, NULL, &err), &err);
    request.name = "of-stopped";
    assert_ok(instance_fork(fixture->host, "source", &request, &record, &err), &err);
    assert_int_equal(record.state, INSTANCE_STOPPED);
}

static void test_targets_of_a_standby_source(void **state)
{
    struct fixture *fixture = *state;
    struct instance_record source = sleeping_source(fixture);
    struct instance_record asleep = fixture_fork(fixture, "source", "asleep", INSTANCE_STANDBY);
    assert_int_equal(guest_stat(fixture, asleep.id, MEMORY_FILE).st_nlink, 2);
    struct instance_record cold = fixture_fork(fixture, "source", "cold", INSTANCE_STOPPED);
    assert_absent(fixture, cold.id, GUEST_SNAPSHOT);
    assert_string_equal(cold.memory_method, "");
    struct error err = {0};
    assert_ok(instance_start(fixture->host, "cold", NULL, &err), &err);
    assert_recalls(fixture, "cold", "");
    restore(fixture, "asleep");
    assert_recalls(fixture, "asleep", "from the source");
    _cleanup_(free) char *hostname = guest_run(fixture, "asleep", "hostname", NULL);
    assert_string_equal(hostname, "asleep");
    guest_stat(fixture, source.id, MEMORY_FILE);
}

static void test_targets_of_a_stopped_source(void **state)
{
    struct fixture *fixture = *state;
    struct error err = {0};
    fixture_create(fixture, "source");
    assert_ok(instance_stop(fixture->host, "source", 0, NULL, &err), &err);
    struct instance_record booted = fixture_fork(fixture, "source", "booted", INSTANCE_RUNNING);
    assert_recalls(fixture, "booted", "");
    assert_string_equal(booted.memory_method, "");
    fixture_fork(fixture, "source", "asleep", INSTANCE_STANDBY);
    restore(fixture, "asleep");
    assert_recalls(fixture, "asleep", "");
    assert_state(fixture, "source", INSTANCE_STOPPED);
}

static void test_fork_of_running(void **state)
{
    struct fixture *fixture = *state;
    struct error err = {0};
    struct instance_record source = fixture_create(fixture, "source");
    guest_remember(fixture, "source", "before the fork");
    const struct instance_fork_request request = {.name = "fork", .from_running = true};
    struct instance_record fork;
    assert_ok(instance_fork(fixture->host, "source", &request, &fork, &err), &err);
    assert_state(fixture, "source", INSTANCE_RUNNING);
    assert_recalls(fixture, "source", "before the fork");
    assert_recalls(fixture, "fork", "before the fork");
    assert_int_equal(guest_stat(fixture, source.id, BASE_FILE).st_ino,
                     guest_stat(fixture, fork.id, BASE_FILE).st_ino);
    guest_remember(fixture, "source", "source's own");
    assert_recalls(fixture, "fork", "before the fork");
    guest_remember(fixture, "fork", "fork's own");
    assert_recalls(fixture, "source", "source's own");
}

/* Whatever becomes of the source, its forks keep what they have. */
static void test_forks_outlive_their_source(void **state)
{
    struct fixture *fixture = *state;
    sleeping_source(fixture);
    struct instance_record running = fixture_fork(fixture, "source", "running", INSTANCE_RUNNING);
    struct instance_record asleep = fixture_fork(fixture, "source", "asleep", INSTANCE_STANDBY);
    ino_t inode = guest_stat(fixture, running.id, BASE_FILE).st_ino;
    /* A second standby writes a new file; the shared one is not touched (R2). */
    restore(fixture, "source");
    guest_remember(fixture, "source", "later");
    standby(fixture, "source");
    assert_recalls(fixture, "running", "from the source");
    discard(fixture, "source");
    assert_recalls(fixture, "running", "from the source");
    assert_int_equal(guest_stat(fixture, running.id, BASE_FILE).st_ino, inode);
    assert_int_equal(guest_stat(fixture, asleep.id, MEMORY_FILE).st_ino, inode);
    assert_int_equal(guest_stat(fixture, asleep.id, MEMORY_FILE).st_nlink, 2);
    restore(fixture, "asleep");
    assert_recalls(fixture, "asleep", "from the source");
    /* A fork of a fork, after all before it are gone. */
    standby(fixture, "running");
    fixture_fork(fixture, "running", "grandchild", INSTANCE_RUNNING);
    discard(fixture, "running");
    discard(fixture, "asleep");
    assert_recalls(fixture, "grandchild", "from the source");
}

static void test_standby_of_a_fork_leaves_the_source_alone(void **state)
{
    struct fixture *fixture = *state;
    struct instance_record source = sleeping_source(fixture);
    struct instance_record fork = fixture_fork(fixture, "source", "fork", INSTANCE_RUNNING);
    struct stat before = guest_stat(fixture, source.id, MEMORY_FILE);
    guest_remember(fixture, "fork", "fork's own");
    standby(fixture, "fork");
    struct stat after = guest_stat(fixture, source.id, MEMORY_FILE);
    assert_int_equal(before.st_ino, after.st_ino);
    assert_int_equal(before.st_mtim.tv_nsec, after.st_mtim.tv_nsec);
    assert_int_equal(after.st_nlink, 1);
    assert_int_equal(guest_stat(fixture, fork.id, MEMORY_FILE).st_nlink, 1);
    restore(fixture, "source");
    assert_recalls(fixture, "source", "from the source");
    restore(fixture, "fork");
    assert_recalls(fixture, "fork", "fork's own");
}

/* A thread that forks, and what came of it. */
struct forker {
    pthread_t thread;
    struct fixture *fixture;
    char name[32];
    bool from_running;
    enum instance_state target; /* Created: none is asked for */
    struct instance_record record;
    struct error err;
    int result;
};

static void *fork_run(void *context)
{
    struct forker *forker = context;
    const struct instance_fork_request request = {.name = forker->name,
                                                  .from_running = forker->from_running,
                                                  .has_target = forker->target != INSTANCE_CREATED,
                                                  .target = forker->target};
    forker->result =
        instance_fork(forker->fixture->host, "source", &request, &forker->record, &forker->err);
    return NULL;
}

static void forkers_start(struct fixture *fixture, struct forker *forkers, int count,
                          enum instance_state target, bool from_running)
{
    for (int i = 0; i < count; i++) {
        forkers[i] =
            (struct forker){.fixture = fixture, .target = target, .from_running = from_running};
        snprintf(forkers[i].name, sizeof(forkers[i].name), "fork-%d", i);
        assert_int_equal(pthread_create(&forkers[i].thread, NULL, fork_run, &forkers[i]), 0);
    }
}

static void test_many_at_once(void **state)
{
    struct fixture *fixture = *state;
    struct forker forkers[FORKS];
    struct instance_record source = sleeping_source(fixture);
    forkers_start(fixture, forkers, FORKS, INSTANCE_RUNNING, false);
    for (int i = 0; i < FORKS; i++) {
        pthread_join(forkers[i].thread, NULL);
        assert_ok(forkers[i].result, &forkers[i].err);
        assert_int_equal(forkers[i].record.memory_bytes_copied, 0);
    }
    assert_int_equal(guest_stat(fixture, source.id, MEMORY_FILE).st_nlink, FORKS + 1);
    assert_int_equal(guest_stat(fixture, source.id, "disks/1.img").st_nlink, FORKS + 1);
    assert_int_equal(guest_stat(fixture, source.id, "disks/0.img").st_nlink, 1);
    discard(fixture, "source");
    for (int i = 0; i < FORKS; i++) {
        assert_recalls(fixture, forkers[i].name, "from the source");
        guest_remember(fixture, forkers[i].name, forkers[i].name);
    }
    for (int i = 0; i < FORKS; i++)
        assert_recalls(fixture, forkers[i].name, forkers[i].name);
    for (int i = 0; i < 5; i++) {
        standby(fixture, forkers[i].name);
        restore(fixture, forkers[i].name);
        assert_recalls(fixture, forkers[i].name, forkers[i].name);
    }
}

/* A driver in which restores wait for each other: it works only if forks really run at once. */
static struct hypervisor real;
static pthread_barrier_t all_here;

static int restore_together(const struct hypervisor *self, const struct vm_spec *spec,
                            const char *snapshot_dir, bool resume, struct vm_process *process,
                            struct error *err)
{
    pthread_barrier_wait(&all_here);
    return real.restore(self, spec, snapshot_dir, resume, process, err);
}

static void test_forks_really_run_at_once(void **state)
{
    struct fixture *fixture = *state;
    struct forker forkers[FORKS];
    struct error err = {0};
    sleeping_source(fixture);
    fixture_close(fixture);
    real = hypervisor_builtin(fixture->vmm);
    struct hypervisor together = real;
    together.restore = restore_together;
    const struct host_options options = {.data_dir = fixture->data, .hypervisor = &together};
    fixture->host = host_open(&options, &err);
    assert_ok(fixture->host ? 0 : -1, &err);
    assert_int_equal(pthread_barrier_init(&all_here, NULL, FORKS), 0);
    forkers_start(fixture, forkers, FORKS, INSTANCE_RUNNING, false);
    for (int i = 0; i < FORKS; i++) {
        pthread_join(forkers[i].thread, NULL);
        assert_ok(forkers[i].result, &forkers[i].err);
    }
    pthread_barrier_destroy(&all_here);
}

static void test_many_of_a_running_source(void **state)
{
    struct fixture *fixture = *state;
    struct forker forkers[5];
    fixture_create(fixture, "source");
    guest_remember(fixture, "source", "note");
    forkers_start(fixture, forkers, 5, INSTANCE_RUNNING, true);
    for (int i = 0; i < 5; i++) {
        pthread_join(forkers[i].thread, NULL);
        assert_ok(forkers[i].result, &forkers[i].err);
        assert_recalls(fixture, forkers[i].name, "note");
    }
    assert_recalls(fixture, "source", "note");
}

/* How often the source's VMM was asked to pause. */
static unsigned naps_of(const struct fixture *fixture, const char *id)
{
    _cleanup_(free) char *requests = NULL;
    struct error err = {0};
    size_t length;
    const struct path path = guest_path(fixture, id, "log/requests");
    assert_ok(file_read_all(AT_FDCWD, path.text, 1 << 20, &requests, &length, &err), &err);
    unsigned naps = 0;
    for (const char *at = requests; (at = strstr(at, "\"Paused\"")); at++)
        naps++;
    return naps;
}

/* They wait for the source, asleep or not, all at the same time. */
static void forkers_start_together(struct fixture *fixture, const struct instance_record *source,
                                   struct forker *forkers, int count, enum instance_state target)
{
    struct lock_hold hold;
    assert_int_equal(lock_take(fixture->host->locks, source->id, LOCK_EXCLUSIVE, &hold, NULL), 0);
    forkers_start(fixture, forkers, count, target, true);
    while (lock_users(fixture->host->locks, source->id) < (unsigned)count + 1)
        time_sleep_ms(1);
    lock_release(&hold);
}

/* Forks that wait for a running source at the same time put it to sleep once. */
static void test_one_nap_for_all_who_wait(void **state)
{
    struct fixture *fixture = *state;
    struct forker forkers[FORKS];
    struct instance_record source = fixture_create(fixture, "source");
    guest_remember(fixture, "source", "note");
    forkers_start_together(fixture, &source, forkers, FORKS, INSTANCE_STANDBY);
    for (int i = 0; i < FORKS; i++) {
        pthread_join(forkers[i].thread, NULL);
        assert_ok(forkers[i].result, &forkers[i].err);
        assert_int_equal(forkers[i].record.state, INSTANCE_STANDBY);
    }
    assert_int_equal(naps_of(fixture, source.id), 1);
    assert_state(fixture, "source", INSTANCE_RUNNING);
    assert_int_equal(guest_stat(fixture, source.id, BASE_FILE).st_nlink, FORKS + 1);
    guest_remember(fixture, "source", "later");
    restore(fixture, forkers[FORKS - 1].name);
    assert_recalls(fixture, forkers[FORKS - 1].name, "note");
}

/* A source that sleeps anyway is in nobody's nap: who waits beside others gets what one alone gets.
 */
static void test_from_running_of_a_source_that_does_not_run(void **state)
{
    static const struct {
        enum instance_state source, target, result;
        const char *note;
    } cases[] = {
        {INSTANCE_STANDBY, INSTANCE_CREATED, INSTANCE_STANDBY, "note"},
        {INSTANCE_STANDBY, INSTANCE_RUNNING, INSTANCE_RUNNING, "note"},
        {INSTANCE_STOPPED, INSTANCE_CREATED, INSTANCE_STOPPED, ""},
        {INSTANCE_STOPPED, INSTANCE_RUNNING, INSTANCE_RUNNING, ""},
    };
    struct fixture *fixture = *state;
    struct error err = {0};
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        struct forker forkers[4];
        struct instance_record source = fixture_create(fixture, "source");
        guest_remember(fixture, "source", "note");
        standby(fixture, "source");
        if (cases[i].source == INSTANCE_STOPPED) {
            restore(fixture, "source");
            assert_ok(instance_stop(fixture->host, "source", 0, NULL, &err), &err);
        }
        forkers_start_together(fixture, &source, forkers, 4, cases[i].target);
        for (int fork = 0; fork < 4; fork++)
            pthread_join(forkers[fork].thread, NULL);
        for (int fork = 0; fork < 4; fork++) {
            assert_ok(forkers[fork].result, &forkers[fork].err);
            assert_state(fixture, forkers[fork].name, cases[i].result);
            if (cases[i].result == INSTANCE_RUNNING)
                assert_recalls(fixture, forkers[fork].name, cases[i].note);
            discard(fixture, forkers[fork].name);
        }
        assert_state(fixture, "source", cases[i].source);
        discard(fixture, "source");
    }
}

/* The first one's failure is not the others': each tries for itself. */
static void test_a_nap_that_fails(void **state)
{
    struct fixture *fixture = *state;
    struct forker forkers[3];
    struct instance_record source = fixture_create(fixture, "source");
    guest_orders(fixture, source.id, "refuse /snapshot/create no");
    forkers_start(fixture, forkers, 3, INSTANCE_STANDBY, true);
    for (int i = 0; i < 3; i++) {
        struct error err = {0};
        pthread_join(forkers[i].thread, NULL);
        assert_fails(forkers[i].result, &forkers[i].err, ERROR_INVALID, "refuses");
        assert_true(instance_get(fixture->host, forkers[i].name, NULL, &err) < 0);
    }
    assert_state(fixture, "source", INSTANCE_RUNNING);
    guest_orders(fixture, source.id, NULL);
    const struct instance_fork_request request = {.name = "again", .from_running = true};
    struct error err = {0};
    assert_ok(instance_fork(fixture->host, "source", &request, NULL, &err), &err);
}

/* Each fork either is whole or has never been. */
static void test_delete_while_forking(void **state)
{
    struct fixture *fixture = *state;
    for (int round = 0; round < 5; round++) {
        struct forker forkers[8];
        struct error err = {0};
        sleeping_source(fixture);
        forkers_start(fixture, forkers, 8, INSTANCE_RUNNING, false);
        assert_ok(instance_delete(fixture->host, "source", &err), &err);
        for (int i = 0; i < 8; i++) {
            pthread_join(forkers[i].thread, NULL);
            if (forkers[i].result < 0) {
                assert_fails(forkers[i].result, &forkers[i].err, ERROR_NOT_FOUND, "");
                assert_true(instance_get(fixture->host, forkers[i].name, NULL, &err) < 0);
                continue;
            }
            assert_recalls(fixture, forkers[i].name, "from the source");
            discard(fixture, forkers[i].name);
        }
    }
}

/* Two operations that exclude each other, many times. */
static void *toggle_run(void *context)
{
    struct forker *forker = context;
    for (int i = 0; i < 10 && forker->result == 0; i++) {
        struct error *err = &forker->err;
        int r = i % 2 ? instance_restore(forker->fixture->host, "source", NULL, err)
                      : instance_standby(forker->fixture->host, "source", NULL, err);
        if (r < 0 && err->code != ERROR_STATE)
            forker->result = r;
    }
    return NULL;
}

static void test_standby_and_restore_against_forks(void **state)
{
    struct fixture *fixture = *state;
    struct forker toggle = {.fixture = fixture}, forkers[10];
    fixture_create(fixture, "source");
    guest_remember(fixture, "source", "note");
    assert_int_equal(pthread_create(&toggle.thread, NULL, toggle_run, &toggle), 0);
    forkers_start(fixture, forkers, 10, INSTANCE_RUNNING, true);
    pthread_join(toggle.thread, NULL);
    assert_ok(toggle.result, &toggle.err);
    for (int i = 0; i < 10; i++) {
        pthread_join(forkers[i].thread, NULL);
        assert_ok(forkers[i].result, &forkers[i].err);
        assert_recalls(fixture, forkers[i].name, "note");
    }
}

static void test_same_name_at_once(void **state)
{
    struct fixture *fixture = *state;
    struct forker forkers[8];
    int made = 0;
    sleeping_source(fixture);
    for (int i = 0; i < 8; i++) {
        forkers[i] = (struct forker){.fixture = fixture, .target = INSTANCE_STANDBY, .name = "one"};
        assert_int_equal(pthread_create(&forkers[i].thread, NULL, fork_run, &forkers[i]), 0);
    }
    for (int i = 0; i < 8; i++) {
        pthread_join(forkers[i].thread, NULL);
        made += forkers[i].result == 0;
        if (forkers[i].result < 0)
            assert_fails(forkers[i].result, &forkers[i].err, ERROR_NAME, "'one'");
    }
    assert_int_equal(made, 1);
    restore(fixture, "one");
    assert_recalls(fixture, "one", "from the source");
}

static const struct CMUnitTest tests[] = {
    FIXTURE_TEST(test_fork_of_standby),
    FIXTURE_TEST(test_default_target_is_the_sources_state),
    FIXTURE_TEST(test_targets_of_a_standby_source),
    FIXTURE_TEST(test_targets_of_a_stopped_source),
    FIXTURE_TEST(test_fork_of_running),
    FIXTURE_TEST(test_forks_outlive_their_source),
    FIXTURE_TEST(test_standby_of_a_fork_leaves_the_source_alone),
    FIXTURE_TEST(test_many_at_once),
    FIXTURE_TEST(test_forks_really_run_at_once),
    FIXTURE_TEST(test_many_of_a_running_source),
    FIXTURE_TEST(test_one_nap_for_all_who_wait),
    FIXTURE_TEST(test_from_running_of_a_source_that_does_not_run),
    FIXTURE_TEST(test_a_nap_that_fails),
    FIXTURE_TEST(test_delete_while_forking),
    FIXTURE_TEST(test_standby_and_restore_against_forks),
    FIXTURE_TEST(test_same_name_at_once),
};
FIXTURE_MAIN(tests)
