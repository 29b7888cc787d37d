/* SPDX-License-Identifier: Apache-2.0 */
/* What ends by itself is started again, as its policy says. */
#include "fixture.h"

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "agent/client.h"
#include "base/cleanup.h"
#include "base/clock.h"
#include "events/events.h"
#include "instance/directory.h"

#define AWAIT_MS 20000
#define LONG     "\"stable_after\":\"1h0m0s\""
#define SHORT    "\"stable_after\":\"0s\""
#define POLICY(when, backoff, attempts, stable)                                 \
    "{\"restart_policy\":{\"policy\":\"" when "\",\"backoff\":\"" backoff "\"," \
    "\"max_attempts\":" attempts "," stable "}}"

static struct instance_record create(struct fixture *fixture, const char *name,
                                     const char *policies)
{
    struct instance_create_request request = fixture_request(fixture, name);
    struct instance_record record;
    struct error err = {0};
    request.policies = policies;
    assert_ok(instance_create(fixture->host, &request, &record, &err), &err);
    return record;
}

static void end_vmm(struct fixture *fixture, const char *name)
{
    assert_int_equal(kill(fixture_get(fixture, name).vmm_pid, SIGKILL), 0);
}

static void power_off(struct fixture *fixture, const char *name)
{
    struct error err = {0};
    const struct path vsock =
        guest_path(fixture, fixture_get(fixture, name).id, GUEST_VSOCK_SOCKET);
    assert_ok(agent_poweroff(vsock.text, 5000, &err), &err);
}

/* Running again, after so many attempts. */
static struct instance_record await_attempts(struct fixture *fixture, const char *name,
                                             unsigned attempts)
{
    uint64_t deadline = time_monotonic_ns() + AWAIT_MS * 1000000ull;
    struct instance_record record = fixture_get(fixture, name);
    while ((record.restart_attempts != attempts || record.state != INSTANCE_RUNNING) &&
           time_monotonic_ns() < deadline) {
        time_sleep_ms(5);
        record = fixture_get(fixture, name);
    }
    assert_int_equal(record.restart_attempts, attempts);
    assert_state(fixture, name, INSTANCE_RUNNING);
    return record;
}

static void await_blocked(struct fixture *fixture, const char *name, const char *reason)
{
    uint64_t deadline = time_monotonic_ns() + AWAIT_MS * 1000000ull;
    while (strcmp(fixture_get(fixture, name).restart_blocked, reason) != 0 &&
           time_monotonic_ns() < deadline)
        time_sleep_ms(5);
    assert_string_equal(fixture_get(fixture, name).restart_blocked, reason);
    assert_int_equal(fixture_get(fixture, name).restart_next_ns, 0);
}

static void test_always(void **state)
{
    struct fixture *fixture = *state;
    struct instance_record before = create(fixture, "web", POLICY("always", "100ms", "0", LONG));
    struct events_reader reader = events_read(host_events(fixture->host), EVENTS_FROM_NOW);
    power_off(fixture, "web");
    struct event event = await_event(&reader, "restart");
    assert_string_equal(event.result, "ok");
    assert_string_equal(event.state, "Running");
    assert_string_equal(event.message, "attempt 1");
    struct instance_record record = await_attempts(fixture, "web", 1);
    assert_true(record.restart_last_ns > before.started_at_ns);
    assert_int_equal(record.restart_next_ns, 0);
    assert_string_equal(record.restart_blocked, "");
    assert_int_not_equal(record.vmm_pid, before.vmm_pid);
    end_vmm(fixture, "web");
    await_attempts(fixture, "web", 2);
}

static void test_on_failure(void **state)
{
    struct fixture *fixture = *state;
    create(fixture, "web", POLICY("on_failure", "100ms", "0", LONG));
    end_vmm(fixture, "web");
    await_attempts(fixture, "web", 1);
    power_off(fixture, "web");
    fixture_await(fixture, "web", INSTANCE_STOPPED);
    assert_int_equal(fixture_get(fixture, "web").restart_next_ns, 0);
}

static void test_never(void **state)
{
    struct fixture *fixture = *state;
    create(fixture, "web", POLICY("never", "100ms", "0", LONG));
    fixture_create(fixture, "without");
    end_vmm(fixture, "web");
    end_vmm(fixture, "without");
    fixture_await(fixture, "web", INSTANCE_STOPPED);
    fixture_await(fixture, "without", INSTANCE_STOPPED);
    assert_int_equal(fixture_get(fixture, "web").restart_next_ns, 0);
    assert_int_equal(fixture_get(fixture, "without").restart_next_ns, 0);
}

/* Until somebody starts it: then they count anew. */
static void test_attempts_have_an_end(void **state)
{
    struct fixture *fixture = *state;
    struct error err = {0};
    create(fixture, "web", POLICY("always", "100ms", "2", LONG));
    for (unsigned i = 1; i <= 2; i++) {
        end_vmm(fixture, "web");
        await_attempts(fixture, "web", i);
    }
    end_vmm(fixture, "web");
    await_blocked(fixture, "web", "max_attempts_exceeded");
    assert_state(fixture, "web", INSTANCE_STOPPED);
    struct instance_record record;
    assert_ok(instance_start(fixture->host, "web", &record, &err), &err);
    assert_int_equal(record.restart_attempts, 0);
    assert_string_equal(record.restart_blocked, "");
    end_vmm(fixture, "web");
    await_attempts(fixture, "web", 1);
}

/* What ran long enough begins anew, so that it never comes to an end. */
static void test_stable(void **state)
{
    struct fixture *fixture = *state;
    create(fixture, "web", POLICY("always", "100ms", "1", SHORT));
    for (int i = 0; i < 3; i++) {
        uint64_t before = fixture_get(fixture, "web").restart_last_ns;
        struct events_reader reader = events_read(host_events(fixture->host), EVENTS_FROM_NOW);
        end_vmm(fixture, "web");
        await_event(&reader, "restart");
        assert_true(await_attempts(fixture, "web", 1).restart_last_ns > before);
    }
}

/* A start that fails is an attempt too. */
static void test_starts_that_fail(void **state)
{
    struct fixture *fixture = *state;
    struct instance_record record = create(fixture, "web", POLICY("always", "100ms", "2", LONG));
    struct events_reader reader = events_read(host_events(fixture->host), EVENTS_FROM_NOW);
    guest_orders(fixture, record.id, "refuse /actions out of luck\n");
    end_vmm(fixture, "web");
    for (int i = 0; i < 2; i++) {
        struct event event = await_event(&reader, "restart");
        assert_string_not_equal(event.result, "ok");
        assert_string_equal(event.state, "Stopped");
    }
    await_blocked(fixture, "web", "max_attempts_exceeded");
    guest_orders(fixture, record.id, NULL);
    fixture_await(fixture, "web", INSTANCE_STOPPED);
}

static void test_a_stop_is_respected(void **state)
{
    struct fixture *fixture = *state;
    struct error err = {0};
    struct instance_record record;
    create(fixture, "web", POLICY("always", "1h0m0s", "0", LONG));
    assert_ok(instance_stop(fixture->host, "web", 0, &record, &err), &err);
    assert_string_equal(record.restart_blocked, "manual_stop");
    assert_int_equal(record.restart_next_ns, 0);
    assert_ok(instance_start(fixture->host, "web", &record, &err), &err);
    assert_string_equal(record.restart_blocked, "");
    /* While it waits for its next attempt, too. */
    uint64_t before = time_realtime_ns();
    end_vmm(fixture, "web");
    fixture_await(fixture, "web", INSTANCE_STOPPED);
    assert_true(fixture_get(fixture, "web").restart_next_ns >= before + 3600000000000);
    assert_ok(instance_stop(fixture->host, "web", 0, NULL, &err), &err);
    await_blocked(fixture, "web", "manual_stop");
    /* Nothing of it goes to a fork. */
    record = fixture_fork(fixture, "web", "fork", INSTANCE_STOPPED);
    assert_string_equal(record.restart_blocked, "");
    assert_non_null(strstr(record.policies, "always"));
}

/* The wait is longer at each attempt. */
static void test_backoff(void **state)
{
    struct fixture *fixture = *state;
    create(fixture, "web", POLICY("always", "100ms", "0", LONG));
    uint64_t pause = 100000000;
    for (unsigned i = 1; i <= 3; i++, pause *= 2) {
        end_vmm(fixture, "web");
        struct instance_record record = fixture_get(fixture, "web");
        uint64_t deadline = time_monotonic_ns() + AWAIT_MS * 1000000ull;
        uint64_t next = 0, stopped = 0;
        while (record.restart_attempts < i && time_monotonic_ns() < deadline) {
            next = record.restart_next_ns ? record.restart_next_ns : next;
            stopped = record.restart_next_ns ? record.stopped_at_ns : stopped;
            record = fixture_get(fixture, "web");
        }
        assert_true(next >= stopped + pause);
        await_attempts(fixture, "web", i);
    }
}

/* One that ended while tined was away, and one whose wait was not over. */
static void test_another_tined(void **state)
{
    struct fixture *fixture = *state;
    struct instance_record away = create(fixture, "away", POLICY("always", "100ms", "0", LONG));
    create(fixture, "waits", POLICY("always", "1h0m0s", "0", LONG));
    end_vmm(fixture, "waits");
    fixture_await(fixture, "waits", INSTANCE_STOPPED);
    uint64_t next = fixture_get(fixture, "waits").restart_next_ns;
    fixture_close(fixture);
    assert_int_equal(kill(away.vmm_pid, SIGKILL), 0);
    fixture_open(fixture);
    await_attempts(fixture, "away", 1);
    assert_int_equal(fixture_get(fixture, "waits").restart_next_ns, next);
    assert_state(fixture, "waits", INSTANCE_STOPPED);
}

/* The policy that counts is that of the moment. */
static void test_policy_changes(void **state)
{
    struct fixture *fixture = *state;
    const struct instance_changes never = {.policies = POLICY("never", "100ms", "0", LONG)};
    struct error err = {0};
    create(fixture, "web", POLICY("always", "1s", "0", LONG));
    end_vmm(fixture, "web");
    fixture_await(fixture, "web", INSTANCE_STOPPED);
    assert_ok(instance_update(fixture->host, "web", &never, NULL, &err), &err);
    uint64_t deadline = time_monotonic_ns() + AWAIT_MS * 1000000ull;
    while (fixture_get(fixture, "web").restart_next_ns > 0 && time_monotonic_ns() < deadline)
        time_sleep_ms(5);
    assert_int_equal(fixture_get(fixture, "web").restart_next_ns, 0);
    assert_state(fixture, "web", INSTANCE_STOPPED);
}

/* tined ends in good order while one is due. */
static void test_quiesce(void **state)
{
    struct fixture *fixture = *state;
    create(fixture, "web", POLICY("always", "100ms", "0", LONG));
    uint64_t deadline = time_monotonic_ns() + AWAIT_MS * 1000000ull;
    while (host_quiesce(fixture->host) && time_monotonic_ns() < deadline)
        time_sleep_ms(5);
    assert_false(host_quiesce(fixture->host));
    end_vmm(fixture, "web");
    fixture_await(fixture, "web", INSTANCE_STOPPED);
    assert_true(fixture_get(fixture, "web").restart_next_ns > 0);
    fixture_reopen(fixture);
    await_attempts(fixture, "web", 1);
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        FIXTURE_TEST(test_always),
        FIXTURE_TEST(test_on_failure),
        FIXTURE_TEST(test_never),
        FIXTURE_TEST(test_attempts_have_an_end),
        FIXTURE_TEST(test_stable),
        FIXTURE_TEST(test_starts_that_fail),
        FIXTURE_TEST(test_a_stop_is_respected),
        FIXTURE_TEST(test_backoff),
        FIXTURE_TEST(test_another_tined),
        FIXTURE_TEST(test_policy_changes),
        FIXTURE_TEST(test_quiesce),
    };
    return fixture_main(argc, argv, tests, sizeof(tests) / sizeof(tests[0]));
}
