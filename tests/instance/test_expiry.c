/* SPDX-License-Identifier: Apache-2.0 */
/* Instances whose time is over are deleted, by themselves, and told of. */
#include "fixture.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/clock.h"
#include "events/events.h"
#include "exposition.h"

#define AWAIT_MS 20000
#define HOUR_NS  3600000000000ull

static struct instance_record create(struct fixture *fixture, const char *name, uint64_t ttl_ns,
                                     uint64_t expires_at_ns)
{
    struct instance_create_request request = fixture_request(fixture, name);
    struct instance_record record;
    struct error err = {0};
    request.lifetime = (struct instance_lifetime){ttl_ns, expires_at_ns};
    assert_ok(instance_create(fixture->host, &request, &record, &err), &err);
    return record;
}

static void update(struct fixture *fixture, const char *name, uint64_t ttl_ns,
                   uint64_t expires_at_ns)
{
    const struct instance_lifetime lifetime = {ttl_ns, expires_at_ns};
    const struct instance_changes changes = {.lifetime = &lifetime};
    struct error err = {0};
    assert_ok(instance_update(fixture->host, name, &changes, NULL, &err), &err);
}

static double expired(struct fixture *fixture)
{
    double value = -1;
    size_t length;
    struct error err = {0};
    _cleanup_(free) char *text = host_metrics(fixture->host, &length, &err);
    assert_true(exposition_value(text, "tine_instances_expired_total", &value));
    return value;
}

/* Until so many have expired, the last of them under that name. What is counted is done. */
static void await_expired(struct fixture *fixture, unsigned count, const char *name)
{
    uint64_t deadline = time_monotonic_ns() + AWAIT_MS * 1000000ull;
    struct error err = {0};
    while (expired(fixture) < count && time_monotonic_ns() < deadline)
        time_sleep_ms(5);
    assert_int_equal(expired(fixture), count);
    assert_fails(instance_get(fixture->host, name, NULL, &err), &err, ERROR_NOT_FOUND, name);
}

static void test_is_deleted(void **state)
{
    struct fixture *fixture = *state;
    struct events_reader reader = events_read(host_events(fixture->host), EVENTS_FROM_NOW);
    assert_int_equal(expired(fixture), 0);
    struct instance_record record = create(fixture, "short", 1, 0);
    assert_int_equal(record.expires_at_ns, record.created_at_ns + 1);
    await_expired(fixture, 1, "short");
    struct event event = await_event(&reader, "delete");
    assert_string_equal(event.instance_id, record.id);
    assert_string_equal(event.result, "ok");
    assert_string_equal(event.state, "");
    assert_int_equal(strncmp(event.message, "expired at 20", 13), 0);
    assert_absent(fixture, record.id, "");
}

/* In any state; the others live on. */
static void test_states_and_others(void **state)
{
    struct fixture *fixture = *state;
    struct error err = {0};
    create(fixture, "forever", 0, 0);
    struct instance_record later = create(fixture, "later", HOUR_NS, 0);
    create(fixture, "asleep", HOUR_NS, 0);
    create(fixture, "off", 0, 0);
    assert_ok(instance_standby(fixture->host, "asleep", NULL, &err), &err);
    assert_ok(instance_stop(fixture->host, "off", 0, NULL, &err), &err);
    update(fixture, "asleep", 0, time_realtime_ns() + 1000000);
    update(fixture, "off", 1, 0);
    await_expired(fixture, 2, "asleep");
    await_expired(fixture, 2, "off");
    assert_int_equal(fixture_get(fixture, "later").expires_at_ns, later.expires_at_ns);
    assert_state(fixture, "later", INSTANCE_RUNNING);
    assert_state(fixture, "forever", INSTANCE_RUNNING);
}

/* As if it had passed while tined was away. */
static void expire_in_row(struct fixture *fixture, const char *id, uint64_t at_ns)
{
    char path[128];
    struct error err = {0};
    struct instance_record record;
    snprintf(path, sizeof(path), "%s/tine.db", fixture->data);
    struct store *store = store_open(path, &err);
    assert_ok(store ? 0 : -1, &err);
    assert_ok(store_get(store, id, &record, &err), &err);
    record.expires_at_ns = at_ns;
    assert_ok(store_update(store, &record, &err), &err);
    store_close(store);
}

static void test_while_tined_is_away(void **state)
{
    struct fixture *fixture = *state;
    struct instance_record gone = create(fixture, "gone", HOUR_NS, 0);
    struct instance_record kept = create(fixture, "kept", HOUR_NS, 0);
    fixture_close(fixture);
    expire_in_row(fixture, gone.id, 1);
    fixture_open(fixture);
    await_expired(fixture, 1, "gone");
    assert_absent(fixture, gone.id, "");
    assert_int_equal(fixture_get(fixture, "kept").expires_at_ns, kept.expires_at_ns);
}

static void test_changes(void **state)
{
    struct fixture *fixture = *state;
    struct error err = {0};
    uint64_t before = time_realtime_ns();
    create(fixture, "web", HOUR_NS, 0);
    update(fixture, "web", 2 * HOUR_NS, 0);
    struct instance_record record = fixture_get(fixture, "web");
    assert_int_equal(record.ttl_ns, 2 * HOUR_NS);
    assert_true(record.expires_at_ns >= before + 2 * HOUR_NS);
    update(fixture, "web", 0, before + HOUR_NS);
    record = fixture_get(fixture, "web");
    assert_int_equal(record.ttl_ns, 0);
    assert_int_equal(record.expires_at_ns, before + HOUR_NS);
    /* Others leave it alone. */
    const struct instance_changes tags = {.tags = "{\"a\":\"b\"}"};
    assert_ok(instance_update(fixture->host, "web", &tags, &record, &err), &err);
    assert_int_equal(record.expires_at_ns, before + HOUR_NS);
    update(fixture, "web", 0, 0);
    assert_int_equal(fixture_get(fixture, "web").expires_at_ns, 0);
}

static void test_bad_lifetimes(void **state)
{
    struct fixture *fixture = *state;
    static const struct instance_lifetime bad[] = {
        {1, 1}, {INT64_MAX, 0}, {UINT64_MAX, 0}, {0, UINT64_MAX}};
    struct error err = {0};
    fixture_create(fixture, "web");
    for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
        struct instance_create_request request = fixture_request(fixture, "never");
        const struct instance_changes changes = {.lifetime = &bad[i]};
        request.lifetime = bad[i];
        assert_fails(instance_create(fixture->host, &request, NULL, &err), &err, ERROR_INVALID,
                     i == 0 ? "exclude" : "2262");
        assert_fails(instance_update(fixture->host, "web", &changes, NULL, &err), &err,
                     ERROR_INVALID, i == 0 ? "exclude" : "2262");
    }
    assert_int_equal(fixture_get(fixture, "web").expires_at_ns, 0);
}

/* A ttl begins anew with a fork, a time is the same; a snapshot keeps a ttl alone. */
static void test_heirs(void **state)
{
    struct fixture *fixture = *state;
    const struct snapshot_target asleep = {.has_state = true, .state = INSTANCE_STANDBY};
    struct error err = {0};
    struct instance_record fork;
    struct instance_record source = create(fixture, "ttl", HOUR_NS, 0);
    assert_ok(instance_standby(fixture->host, "ttl", NULL, &err), &err);
    struct snapshot_record snapshot = fixture_snapshot(fixture, "ttl", INSTANCE_STANDBY, "warm");
    fork = fixture_fork(fixture, "ttl", "ttl-fork", INSTANCE_STANDBY);
    assert_int_equal(fork.expires_at_ns, fork.created_at_ns + HOUR_NS);
    assert_true(fork.expires_at_ns > source.expires_at_ns);
    assert_ok(snapshot_fork(fixture->host, snapshot.id, "of-ttl", &asleep, &fork, &err), &err);
    assert_int_equal(fork.expires_at_ns, fork.created_at_ns + HOUR_NS);

    source = create(fixture, "at", 0, time_realtime_ns() + HOUR_NS);
    assert_ok(instance_standby(fixture->host, "at", NULL, &err), &err);
    snapshot = fixture_snapshot(fixture, "at", INSTANCE_STANDBY, "warm");
    fork = fixture_fork(fixture, "at", "at-fork", INSTANCE_STANDBY);
    assert_int_equal(fork.expires_at_ns, source.expires_at_ns);
    assert_ok(snapshot_fork(fixture->host, snapshot.id, "of-at", &asleep, &fork, &err), &err);
    assert_int_equal(fork.expires_at_ns, 0);
    /* A restore in place leaves it alone. */
    assert_ok(snapshot_restore(fixture->host, "at", snapshot.id, &asleep, &fork, &err), &err);
    assert_int_equal(fork.expires_at_ns, source.expires_at_ns);
    /* What was made of it outlives it. */
    update(fixture, "at", 1, 0);
    await_expired(fixture, 1, "at");
    assert_ok(snapshot_fork(fixture->host, snapshot.id, "after", &asleep, &fork, &err), &err);
}

/* What fails is told, and tried again until it works. Meanwhile nothing else can be changed. */
static void test_fails_at_first(void **state)
{
    struct fixture *fixture = *state;
    const struct instance_changes tags = {.tags = "{}"};
    const struct instance_lifetime longer = {HOUR_NS, 0};
    const struct instance_changes more = {.lifetime = &longer};
    struct error err = {0};
    fixture_create(fixture, "web");
    struct events_reader reader = events_read(host_events(fixture->host), EVENTS_FROM_NOW);
    setenv("TINE_FAILPOINT", "delete-killed=EIO", 1);
    update(fixture, "web", 1, 0);
    for (int i = 0; i < 2; i++) {
        struct event event = await_event(&reader, "delete");
        assert_string_equal(event.result, "system");
        assert_non_null(strstr(event.message, "expired at "));
        assert_non_null(strstr(event.message, "delete-killed"));
    }
    fixture_await(fixture, "web", INSTANCE_STOPPED);
    assert_fails(instance_update(fixture->host, "web", &tags, NULL, &err), &err, ERROR_EXPIRED,
                 "web expired at ");
    assert_fails(instance_update(fixture->host, "web", &more, NULL, &err), &err, ERROR_EXPIRED,
                 "is being deleted");
    assert_int_equal(expired(fixture), 0);
    setenv("TINE_FAILPOINT", "", 1);
    await_expired(fixture, 1, "web");
}

/* A second after the other: each has its turn. */
static void test_many(void **state)
{
    struct fixture *fixture = *state;
    struct error err = {0};
    char name[32];
    fixture_create_diskless(fixture, "source");
    assert_ok(instance_stop(fixture->host, "source", 0, NULL, &err), &err);
    for (int i = 0; i < 12; i++) {
        snprintf(name, sizeof(name), "fork-%d", i);
        fixture_fork(fixture, "source", name, INSTANCE_STOPPED);
        update(fixture, name, (uint64_t)(12 - i) * 1000000, 0);
    }
    for (int i = 0; i < 12; i++) {
        snprintf(name, sizeof(name), "fork-%d", i);
        await_expired(fixture, 12, name);
    }
    assert_state(fixture, "source", INSTANCE_STOPPED);
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        FIXTURE_TEST(test_is_deleted),          FIXTURE_TEST(test_states_and_others),
        FIXTURE_TEST(test_while_tined_is_away), FIXTURE_TEST(test_changes),
        FIXTURE_TEST(test_bad_lifetimes),       FIXTURE_TEST(test_heirs),
        FIXTURE_TEST(test_fails_at_first),      FIXTURE_TEST(test_many),
    };
    return fixture_main(argc, argv, tests, sizeof(tests) / sizeof(tests[0]));
}
