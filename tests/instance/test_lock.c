/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>

#include "base/cleanup.h"
#include "base/clock.h"
#include "instance/lock.h"

#define ID "abcdefghijklmnopqrstuvwx"

/* A thread that takes the lock, says so, and holds it until it is told to let go. */
struct holder {
    pthread_t thread;
    struct lock_table *table;
    enum lock_kind kind;
    atomic_bool holds, let_go;
};

static void *hold_run(void *context)
{
    struct holder *holder = context;
    struct lock_hold hold;
    if (lock_take(holder->table, ID, holder->kind, &hold, NULL) < 0)
        return NULL;
    holder->holds = true;
    while (!holder->let_go)
        time_sleep_ms(1);
    lock_release(&hold);
    return NULL;
}

static void start(struct holder *holder, struct lock_table *table, enum lock_kind kind)
{
    holder->table = table;
    holder->kind = kind;
    holder->holds = holder->let_go = false;
    assert_int_equal(pthread_create(&holder->thread, NULL, hold_run, holder), 0);
}

static void await_hold(struct holder *holder)
{
    while (!holder->holds)
        time_sleep_ms(1);
}

static void finish(struct holder *holder)
{
    holder->let_go = true;
    pthread_join(holder->thread, NULL);
    assert_true(holder->holds);
}

static bool is_busy(struct lock_table *table)
{
    struct lock_hold hold;
    int r = lock_take(table, ID, LOCK_TRY_EXCLUSIVE, &hold, NULL);
    if (r == 0)
        lock_release(&hold);
    else
        assert_int_equal(r, -EBUSY);
    return r < 0;
}

static void test_readers_share(void **state)
{
    struct lock_table *table = lock_table_new();
    struct holder a, b;
    start(&a, table, LOCK_SHARED);
    start(&b, table, LOCK_SHARED);
    await_hold(&a);
    await_hold(&b);
    assert_true(is_busy(table));
    finish(&a);
    assert_true(is_busy(table));
    finish(&b);
    assert_false(is_busy(table));
    lock_table_free(table);
}

static void test_a_writer_is_alone_and_goes_before_later_readers(void **state)
{
    struct lock_table *table = lock_table_new();
    struct holder reader, writer, late;
    start(&reader, table, LOCK_SHARED);
    await_hold(&reader);
    start(&writer, table, LOCK_EXCLUSIVE);
    time_sleep_ms(20);
    start(&late, table, LOCK_SHARED);
    time_sleep_ms(20);
    assert_false(writer.holds);
    assert_false(late.holds);
    reader.let_go = true;
    await_hold(&writer);
    assert_false(late.holds);
    writer.let_go = true;
    await_hold(&late);
    finish(&reader);
    finish(&writer);
    finish(&late);
    assert_false(is_busy(table));
    lock_table_free(table);
}

static void test_a_nap_lets_its_own_kind_in(void **state)
{
    struct lock_table *table = lock_table_new();
    struct lock_hold first;
    struct holder second, reader;
    assert_int_equal(lock_take(table, ID, LOCK_NAP, &first, NULL), 0);
    assert_true(first.writing && !first.joined);
    start(&second, table, LOCK_NAP);
    start(&reader, table, LOCK_SHARED);
    while (lock_users(table, ID) < 3)
        time_sleep_ms(1);
    assert_false(second.holds);
    lock_nap_open(&first, NULL);
    await_hold(&second);
    assert_false(reader.holds);
    second.let_go = true;
    lock_nap_close(&first);
    assert_int_equal(lock_users(table, ID), 2);
    lock_release(&first);
    await_hold(&reader);
    finish(&second);
    finish(&reader);
    assert_false(is_busy(table));
    lock_table_free(table);
}

/* Also those that do not get to run before it is closed. */
static void test_all_who_wait_come_into_a_nap(void **state)
{
    struct lock_table *table = lock_table_new();
    struct lock_hold first;
    struct holder others[16];
    assert_int_equal(lock_take(table, ID, LOCK_NAP, &first, NULL), 0);
    for (size_t i = 0; i < ARRAY_SIZE(others); i++) {
        start(&others[i], table, LOCK_NAP);
        others[i].let_go = true;
    }
    while (lock_users(table, ID) < 1 + ARRAY_SIZE(others))
        time_sleep_ms(1);
    lock_nap_open(&first, NULL);
    lock_nap_close(&first);
    for (size_t i = 0; i < ARRAY_SIZE(others); i++)
        assert_true(others[i].holds);
    lock_release(&first);
    for (size_t i = 0; i < ARRAY_SIZE(others); i++)
        finish(&others[i]);
    assert_false(is_busy(table));
    lock_table_free(table);
}

/* Without a close: those who joined go on as readers, a writer waits for them. */
static void test_a_nap_may_outlive_its_host(void **state)
{
    struct lock_table *table = lock_table_new();
    struct lock_hold first;
    struct holder second, writer;
    assert_int_equal(lock_take(table, ID, LOCK_NAP, &first, NULL), 0);
    lock_nap_open(&first, NULL);
    start(&second, table, LOCK_NAP);
    await_hold(&second);
    start(&writer, table, LOCK_EXCLUSIVE);
    while (lock_users(table, ID) < 3)
        time_sleep_ms(1);
    lock_release(&first);
    assert_false(writer.holds);
    finish(&second);
    await_hold(&writer);
    finish(&writer);
    assert_false(is_busy(table));
    lock_table_free(table);
}

static void test_other_instances_are_not_held_up(void **state)
{
    struct lock_table *table = lock_table_new();
    struct lock_hold a, b;
    assert_int_equal(lock_take(table, ID, LOCK_EXCLUSIVE, &a, NULL), 0);
    assert_int_equal(lock_take(table, "other", LOCK_EXCLUSIVE, &b, NULL), 0);
    lock_release(&a);
    lock_release(&a); /* nothing is held any more */
    lock_release(&b);
    lock_table_free(table);
}

static void test_the_shown_state_ends_with_the_hold(void **state)
{
    struct lock_table *table = lock_table_new();
    struct lock_hold hold;
    enum instance_state shown = INSTANCE_UNKNOWN;
    assert_false(lock_shown(table, ID, &shown));
    assert_int_equal(lock_take(table, ID, LOCK_EXCLUSIVE, &hold, NULL), 0);
    assert_false(lock_shown(table, ID, &shown));
    lock_show(&hold, INSTANCE_PAUSED);
    assert_true(lock_shown(table, ID, &shown));
    assert_int_equal(shown, INSTANCE_PAUSED);
    lock_release(&hold);
    assert_false(lock_shown(table, ID, &shown));
    lock_table_free(table);
}

/* A counter that only the lock keeps right. */
struct count {
    struct lock_table *table;
    unsigned long value;
};

static void *count_run(void *context)
{
    struct count *count = context;
    for (int i = 0; i < 500; i++) {
        struct lock_hold hold;
        bool writes = i % 3 != 0;
        if (lock_take(count->table, ID, writes ? LOCK_EXCLUSIVE : LOCK_SHARED, &hold, NULL) < 0)
            return (void *)1;
        if (writes)
            count->value++;
        lock_release(&hold);
    }
    return NULL;
}

static void test_many_threads(void **state)
{
    struct count count = {.table = lock_table_new()};
    pthread_t threads[8];
    for (int i = 0; i < 8; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, count_run, &count), 0);
    for (int i = 0; i < 8; i++)
        pthread_join(threads[i], NULL);
    assert_int_equal(count.value, 8 * 333);
    assert_false(is_busy(count.table));
    lock_table_free(count.table);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_readers_share),
        cmocka_unit_test(test_a_writer_is_alone_and_goes_before_later_readers),
        cmocka_unit_test(test_a_nap_lets_its_own_kind_in),
        cmocka_unit_test(test_all_who_wait_come_into_a_nap),
        cmocka_unit_test(test_a_nap_may_outlive_its_host),
        cmocka_unit_test(test_other_instances_are_not_held_up),
        cmocka_unit_test(test_the_shown_state_ends_with_the_hold),
        cmocka_unit_test(test_many_threads),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
