/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "base/clock.h"
#include "events/events.h"

#define CAPACITY 8

static int setup(void **state)
{
    *state = events_new(CAPACITY, NULL);
    return *state ? 0 : -1;
}

static int teardown(void **state)
{
    events_free(*state);
    return 0;
}

static void add(struct events *events, int number)
{
    struct event event = {.kind = "test"};
    snprintf(event.message, sizeof(event.message), "%d", number);
    events_add(events, &event);
}

static void expect(struct events_reader *reader, int number)
{
    struct event event;
    uint64_t lost;
    char text[16];
    snprintf(text, sizeof(text), "%d", number);
    assert_int_equal(events_next(reader, &event, &lost), 1);
    assert_string_equal(event.message, text);
    assert_string_equal(event.kind, "test");
    assert_int_equal(event.sequence, number);
}

static void expect_none(struct events_reader *reader)
{
    struct event event;
    uint64_t lost;
    assert_int_equal(events_next(reader, &event, &lost), 0);
}

static void test_order(void **state)
{
    struct events_reader reader = events_read(*state, 0);
    expect_none(&reader);
    add(*state, 1);
    add(*state, 2);
    expect(&reader, 1);
    expect(&reader, 2);
    expect_none(&reader);
    add(*state, 3);
    expect(&reader, 3);
}

static void test_replay(void **state)
{
    add(*state, 1);
    add(*state, 2);
    uint64_t added = time_realtime_ns(), between;
    do
        between = time_realtime_ns();
    while (between <= added);
    add(*state, 3);
    struct events_reader since = events_read(*state, between);
    struct events_reader now = events_read(*state, EVENTS_FROM_NOW);
    expect(&since, 3);
    expect_none(&since);
    expect_none(&now);
    add(*state, 4);
    expect(&now, 4);
}

/* The ring holds the last ones; a reader of the past begins with the oldest that is there. */
static void test_bounded(void **state)
{
    for (int i = 1; i <= 3 * CAPACITY; i++)
        add(*state, i);
    struct events_reader reader = events_read(*state, 0);
    for (int i = 2 * CAPACITY + 1; i <= 3 * CAPACITY; i++)
        expect(&reader, i);
    expect_none(&reader);
}

static void test_slow_reader(void **state)
{
    struct event event;
    uint64_t lost = 0;
    struct events_reader slow = events_read(*state, 0);
    add(*state, 1);
    expect(&slow, 1);
    for (int i = 2; i <= CAPACITY + 1; i++)
        add(*state, i);
    /* As many as the ring holds: nothing is lost. */
    struct events_reader copy = slow;
    expect(&copy, 2);
    add(*state, CAPACITY + 2);
    add(*state, CAPACITY + 3);
    assert_int_equal(events_next(&slow, &event, &lost), -EOVERFLOW);
    assert_int_equal(lost, 2);
    assert_int_equal(events_next(&slow, &event, &lost), -EOVERFLOW);
}

#define WRITERS 4
#define EACH    500

static void *write_many(void *data)
{
    for (int i = 0; i < EACH; i++)
        events_add(data, &(struct event){.kind = "thread"});
    return NULL;
}

/* Every event has a number of its own, and a reader sees them in that order. */
static void test_threads(void **state)
{
    struct events *events = events_new((size_t)WRITERS * EACH, NULL);
    struct events_reader reader = events_read(events, 0);
    pthread_t threads[WRITERS];
    struct event event;
    uint64_t lost;
    for (int i = 0; i < WRITERS; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, write_many, events), 0);
    for (uint64_t wanted = 1; wanted <= (uint64_t)WRITERS * EACH;) {
        int r = events_next(&reader, &event, &lost);
        assert_true(r >= 0);
        if (r > 0)
            assert_int_equal(event.sequence, wanted++);
    }
    for (int i = 0; i < WRITERS; i++)
        pthread_join(threads[i], NULL);
    events_free(events);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_order),       TEST(test_replay),  TEST(test_bounded),
        TEST(test_slow_reader), TEST(test_threads),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
