/* SPDX-License-Identifier: Apache-2.0 */
/* The nap of a running source: forks and snapshots that wait for it at the same time put it to
 * sleep once. */
#include "crowd.h"

#include <fcntl.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/file.h"

#define MEMORY_FILE GUEST_SNAPSHOT "/" SNAPSHOT_MEMORY
#define BASE_FILE   GUEST_BASE "/" SNAPSHOT_MEMORY
#define ACTORS      24
#define NAPS        "no-templates\n" /* one that can't be forked live (test_live.c) */

static struct instance_record running_source(struct fixture *fixture)
{
    struct instance_record source = fixture_create(fixture, "source");
    guest_remember(fixture, "source", "note");
    guest_orders(fixture, source.id, NAPS);
    return source;
}

static struct actor forker(struct fixture *fixture, enum instance_state target)
{
    return (struct actor){.fixture = fixture,
                          .run = actor_fork,
                          .source = "source",
                          .from_running = true,
                          .target = target};
}

static struct actor snapper(struct fixture *fixture)
{
    return (struct actor){.fixture = fixture, .run = actor_snapshot, .source = "source"};
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

/* All hold one memory file, the source's new base among them. */
static void assert_one_nap(struct fixture *fixture, const struct instance_record *source,
                           unsigned owners)
{
    assert_int_equal(naps_of(fixture, source->id), 1);
    assert_state(fixture, "source", INSTANCE_RUNNING);
    assert_int_equal(guest_stat(fixture, source->id, BASE_FILE).st_nlink, owners + 1);
    assert_recalls(fixture, "source", "note");
}

/* However many naps it takes. */
static void test_forks_as_they_come(void **state)
{
    struct fixture *fixture = *state;
    const struct actor example = forker(fixture, INSTANCE_RUNNING);
    struct actor actors[5];
    running_source(fixture);
    crowd_fill(actors, 5, &example);
    crowd_start(actors, 5);
    crowd_join(actors, 5);
    for (int i = 0; i < 5; i++)
        assert_recalls(fixture, actors[i].name, "note");
    assert_recalls(fixture, "source", "note");
}

static void test_forks(void **state)
{
    struct fixture *fixture = *state;
    const struct actor example = forker(fixture, INSTANCE_STANDBY);
    struct actor actors[ACTORS];
    struct instance_record source = running_source(fixture);
    crowd_fill(actors, ACTORS, &example);
    crowd_start_together(actors, ACTORS, &source);
    crowd_join(actors, ACTORS);
    for (int i = 0; i < ACTORS; i++)
        assert_int_equal(actors[i].record.state, INSTANCE_STANDBY);
    assert_one_nap(fixture, &source, ACTORS);
    guest_remember(fixture, "source", "later");
    struct error err = {0};
    assert_ok(instance_restore(fixture->host, actors[ACTORS - 1].name, NULL, &err), &err);
    assert_recalls(fixture, actors[ACTORS - 1].name, "note");
}

static void fork_snapshot(struct fixture *fixture, const char *id, const char *name)
{
    struct error err = {0};
    const struct snapshot_target awake = {.has_state = false};
    assert_ok(snapshot_fork(fixture->host, id, name, &awake, NULL, &err), &err);
    assert_recalls(fixture, name, "note");
}

static void test_snapshots(void **state)
{
    struct fixture *fixture = *state;
    const struct actor example = snapper(fixture);
    struct actor actors[ACTORS];
    struct instance_record source = running_source(fixture);
    crowd_fill(actors, ACTORS, &example);
    crowd_start_together(actors, ACTORS, &source);
    crowd_join(actors, ACTORS);
    assert_one_nap(fixture, &source, ACTORS);
    ino_t base = guest_stat(fixture, source.id, BASE_FILE).st_ino;
    for (int i = 0; i < ACTORS; i++)
        assert_int_equal(snapshot_stat(fixture, actors[i].snapshot.id, MEMORY_FILE).st_ino, base);
    guest_remember(fixture, "source", "later");
    fork_snapshot(fixture, actors[0].snapshot.id, "first");
    fork_snapshot(fixture, actors[ACTORS - 1].snapshot.id, "last");
}

/* Whoever is first, the others join. */
static void test_forks_beside_snapshots(void **state)
{
    struct fixture *fixture = *state;
    const struct actor fork = forker(fixture, INSTANCE_CREATED), snapshot = snapper(fixture);
    struct actor actors[ACTORS];
    struct instance_record source = running_source(fixture);
    crowd_fill(actors, ACTORS / 2, &snapshot);
    crowd_fill(actors + ACTORS / 2, ACTORS / 2, &fork);
    crowd_start_together(actors, ACTORS, &source);
    crowd_join(actors, ACTORS);
    assert_one_nap(fixture, &source, ACTORS);
    for (int i = ACTORS / 2; i < ACTORS; i++) {
        assert_state(fixture, actors[i].name, INSTANCE_RUNNING);
        assert_recalls(fixture, actors[i].name, "note");
    }
    fork_snapshot(fixture, actors[0].snapshot.id, "child");
}

/* A name that is taken is found out in the nap too, and is nobody else's trouble. */
static void test_a_snapshot_that_fails_in_a_nap(void **state)
{
    struct fixture *fixture = *state;
    const struct actor example = snapper(fixture);
    struct actor actors[6];
    struct instance_record source = running_source(fixture);
    crowd_fill(actors, 6, &example);
    for (int i = 0; i < 3; i++)
        strcpy(actors[i].name, "one");
    crowd_start_together(actors, 6, &source);
    int made = 0;
    for (int i = 0; i < 3; i++) {
        if (actor_join(&actors[i]) == 0)
            made++;
        else
            assert_fails(actors[i].result, &actors[i].err, ERROR_NAME, "'one'");
    }
    assert_int_equal(made, 1);
    crowd_join(actors + 3, 3);
    assert_one_nap(fixture, &source, 4);
}

static void put(struct fixture *fixture, enum instance_state state)
{
    struct error err = {0};
    assert_ok(instance_standby(fixture->host, "source", NULL, &err), &err);
    if (state == INSTANCE_STANDBY)
        return;
    assert_ok(instance_restore(fixture->host, "source", NULL, &err), &err);
    assert_ok(instance_stop(fixture->host, "source", 0, NULL, &err), &err);
}

static void discard(struct fixture *fixture, const char *reference)
{
    struct error err = {0};
    assert_ok(instance_delete(fixture->host, reference, &err), &err);
}

/* A source that sleeps anyway is in nobody's nap: who waits beside others gets what one alone gets.
 */
static void test_a_source_that_does_not_run(void **state)
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
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        const struct actor example = forker(fixture, cases[i].target);
        struct actor actors[4];
        struct instance_record source = running_source(fixture);
        put(fixture, cases[i].source);
        crowd_fill(actors, 4, &example);
        crowd_start_together(actors, 4, &source);
        crowd_join(actors, 4);
        for (int fork = 0; fork < 4; fork++) {
            assert_state(fixture, actors[fork].name, cases[i].result);
            if (cases[i].result == INSTANCE_RUNNING)
                assert_recalls(fixture, actors[fork].name, cases[i].note);
            discard(fixture, actors[fork].name);
        }
        assert_state(fixture, "source", cases[i].source);
        discard(fixture, "source");
    }
}

static void test_snapshots_of_a_source_that_sleeps(void **state)
{
    struct fixture *fixture = *state;
    const struct actor example = snapper(fixture);
    struct actor actors[4];
    struct instance_record source = running_source(fixture);
    put(fixture, INSTANCE_STANDBY);
    crowd_fill(actors, 4, &example);
    crowd_start_together(actors, 4, &source);
    crowd_join(actors, 4);
    assert_state(fixture, "source", INSTANCE_STANDBY);
    assert_int_equal(guest_stat(fixture, source.id, MEMORY_FILE).st_nlink, 5);
}

/* The first one's failure is not the others': each tries for itself. */
static void test_a_nap_that_fails(void **state)
{
    struct fixture *fixture = *state;
    const struct actor fork = forker(fixture, INSTANCE_STANDBY), snapshot = snapper(fixture);
    struct actor actors[6];
    struct instance_record source = running_source(fixture);
    guest_orders(fixture, source.id, NAPS "refuse /snapshot/create no");
    crowd_fill(actors, 3, &snapshot);
    crowd_fill(actors + 3, 3, &fork);
    crowd_start_together(actors, 6, &source);
    for (int i = 0; i < 6; i++)
        assert_fails(actor_join(&actors[i]), &actors[i].err, ERROR_INVALID, "refuses");
    assert_state(fixture, "source", INSTANCE_RUNNING);
    guest_orders(fixture, source.id, NAPS);
    crowd_start(actors, 6);
    crowd_join(actors, 6);
}

static const struct CMUnitTest tests[] = {
    FIXTURE_TEST(test_forks_as_they_come),
    FIXTURE_TEST(test_forks),
    FIXTURE_TEST(test_snapshots),
    FIXTURE_TEST(test_forks_beside_snapshots),
    FIXTURE_TEST(test_a_snapshot_that_fails_in_a_nap),
    FIXTURE_TEST(test_a_source_that_does_not_run),
    FIXTURE_TEST(test_snapshots_of_a_source_that_sleeps),
    FIXTURE_TEST(test_a_nap_that_fails),
};
FIXTURE_MAIN(tests)
