/* SPDX-License-Identifier: Apache-2.0 */
/* Forks and who owns what: the rules R1 to R5, seen by inode and link count. */
#include "crowd.h"

#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"

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
    assert_int_equal(guest_stat(fixture, fork.id, "disks/0.img").st_ino,
                     guest_stat(fixture, source.id, "disks/0.img").st_ino);
    assert_int_equal(guest_stat(fixture, fork.id, "disks/0.img.top").st_nlink, 1);
    assert_int_equal(guest_stat(fixture, source.id, "disks/0.img.top").st_nlink, 1);
    assert_int_equal(fork.disk_bytes_copied, 0);
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
    guest_orders(fixture, source.id, "no-templates"); /* else see test_live.c */
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

/* Starts forks of "source". */
static void forkers_start(struct fixture *fixture, struct actor *forkers, int count,
                          enum instance_state target, bool from_running)
{
    const struct actor example = {.fixture = fixture,
                                  .run = actor_fork,
                                  .source = "source",
                                  .from_running = from_running,
                                  .target = target};
    crowd_fill(forkers, count, &example);
    crowd_start(forkers, count);
}

static void test_many_at_once(void **state)
{
    struct fixture *fixture = *state;
    struct actor forkers[FORKS];
    struct instance_record source = sleeping_source(fixture);
    forkers_start(fixture, forkers, FORKS, INSTANCE_RUNNING, false);
    crowd_join(forkers, FORKS);
    for (int i = 0; i < FORKS; i++)
        assert_int_equal(forkers[i].record.memory_bytes_copied, 0);
    assert_int_equal(guest_stat(fixture, source.id, MEMORY_FILE).st_nlink, FORKS + 1);
    assert_int_equal(guest_stat(fixture, source.id, "disks/1.img").st_nlink, FORKS + 1);
    assert_int_equal(guest_stat(fixture, source.id, "disks/0.img").st_nlink, FORKS + 1);
    assert_int_equal(guest_stat(fixture, source.id, "disks/0.img.top").st_nlink, 1);
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

static void test_forks_really_run_at_once(void **state)
{
    struct fixture *fixture = *state;
    struct actor forkers[FORKS];
    sleeping_source(fixture);
    crowd_meet(fixture, FORKS);
    forkers_start(fixture, forkers, FORKS, INSTANCE_RUNNING, false);
    crowd_join(forkers, FORKS);
    crowd_part();
}

/* Each fork either is whole or has never been. */
static void test_delete_while_forking(void **state)
{
    struct fixture *fixture = *state;
    for (int round = 0; round < 5; round++) {
        struct actor forkers[8];
        struct error err = {0};
        sleeping_source(fixture);
        forkers_start(fixture, forkers, 8, INSTANCE_RUNNING, false);
        assert_ok(instance_delete(fixture->host, "source", &err), &err);
        for (int i = 0; i < 8; i++) {
            if (actor_join(&forkers[i]) < 0) {
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
static int toggle(struct actor *actor, struct error *err)
{
    for (int i = 0; i < 10; i++) {
        int r = i % 2 ? instance_restore(actor->fixture->host, "source", NULL, err)
                      : instance_standby(actor->fixture->host, "source", NULL, err);
        if (r < 0 && err->code != ERROR_STATE)
            return r;
    }
    return 0;
}

static void test_standby_and_restore_against_forks(void **state)
{
    struct fixture *fixture = *state;
    struct actor toggler = {.fixture = fixture, .run = toggle}, forkers[10];
    fixture_create(fixture, "source");
    guest_remember(fixture, "source", "note");
    actor_start(&toggler);
    forkers_start(fixture, forkers, 10, INSTANCE_RUNNING, true);
    crowd_join(&toggler, 1);
    crowd_join(forkers, 10);
    for (int i = 0; i < 10; i++)
        assert_recalls(fixture, forkers[i].name, "note");
}

static void test_same_name_at_once(void **state)
{
    struct fixture *fixture = *state;
    const struct actor example = {
        .fixture = fixture, .run = actor_fork, .source = "source", .target = INSTANCE_STANDBY};
    struct actor forkers[8];
    int made = 0;
    sleeping_source(fixture);
    crowd_fill(forkers, 8, &example);
    for (int i = 0; i < 8; i++)
        strcpy(forkers[i].name, "one");
    crowd_start(forkers, 8);
    for (int i = 0; i < 8; i++) {
        if (actor_join(&forkers[i]) == 0)
            made++;
        else
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
    FIXTURE_TEST(test_delete_while_forking),
    FIXTURE_TEST(test_standby_and_restore_against_forks),
    FIXTURE_TEST(test_same_name_at_once),
};
FIXTURE_MAIN(tests)
