/* SPDX-License-Identifier: Apache-2.0 */
#include <limits.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/clock.h"

#define FAR_MS 3600000u

static void test_reached(void **state)
{
    uint64_t now = time_monotonic_ns();
    assert_int_equal(time_left_ms(0), 0);
    assert_int_equal(time_left_ms(now - 1), 0);
    assert_int_equal(time_left_ms(now), 0);
    assert_int_equal(time_left_ms(time_after_ms(0)), 0);
}

static void test_from_now(void **state)
{
    uint64_t before = time_monotonic_ns();
    uint64_t deadline = time_after_ms(FAR_MS);
    uint64_t after = time_monotonic_ns();
    assert_in_range(deadline, before + FAR_MS * 1000000ull, after + FAR_MS * 1000000ull);
    assert_in_range(time_left_ms(deadline), 1, FAR_MS);
    /* More than 32 bits of nanoseconds, and of milliseconds all that there are. */
    assert_true(time_after_ms(UINT_MAX) >= before + UINT_MAX * 1000000ull);
}

/* Rounded up to the whole millisecond: what is left when it is asked, between the two looks. */
static void test_rounds_up(void **state)
{
    for (uint64_t ns = FAR_MS * 1000000ull; ns < FAR_MS * 1000000ull + 3000000; ns += 499999) {
        uint64_t before = time_monotonic_ns();
        uint64_t deadline = before + ns;
        uint64_t left_ms = (uint64_t)time_left_ms(deadline);
        uint64_t after = time_monotonic_ns();
        assert_true(left_ms * 1000000 >= deadline - after);
        assert_true(left_ms * 1000000 < ns + 1000000);
    }
}

/* A deadline that was ahead when it was asked for is never said to be reached. */
static void test_ahead(void **state)
{
    uint64_t deadline = time_after_ms(2);
    int left_ms;
    do {
        left_ms = time_left_ms(deadline);
        assert_in_range(left_ms, 0, 2);
        assert_true(left_ms > 0 || time_monotonic_ns() >= deadline);
    } while (left_ms > 0);
}

static void test_limit(void **state)
{
    assert_int_equal(time_left_ms(UINT64_MAX), INT_MAX);
    assert_int_equal(time_left_ms(time_after_ms(UINT_MAX)), INT_MAX);
    assert_true(time_left_ms(time_after_ms(INT_MAX)) > 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_reached),   cmocka_unit_test(test_from_now),
        cmocka_unit_test(test_rounds_up), cmocka_unit_test(test_ahead),
        cmocka_unit_test(test_limit),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
