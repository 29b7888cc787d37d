/* SPDX-License-Identifier: Apache-2.0 */
/* Times and rates as the API's clients write them. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <errno.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/clock.h"
#include "base/rate.h"

#define SECOND 1000000000ull

static void test_times(void **state)
{
    static const struct {
        const char *text;
        uint64_t ns;
    } good[] = {
        {"1970-01-01T00:00:00Z", 0},
        {"1970-01-01t00:00:01z", SECOND},
        {"1970-01-01 00:00:01Z", SECOND},
        {"2000-02-29T12:00:00Z", 951825600 * SECOND},
        {"2026-01-31T12:00:00.5Z", 1769860800 * SECOND + SECOND / 2},
        {"2026-01-31T12:00:00.123456789999Z", 1769860800 * SECOND + 123456789},
        {"2026-01-31T14:30:00+02:30", 1769860800 * SECOND},
        {"2026-01-31T00:00:00-12:00", 1769860800 * SECOND},
        {"1969-12-31T23:00:00-01:00", 0},
        {"2262-04-11T23:47:16.854775807Z", INT64_MAX},
    };
    static const char *const bad[] = {
        "",
        "tomorrow",
        "2026-01-31",
        "2026-01-31T12:00:00",
        "2026-01-31T12:00Z",
        "2026-1-31T12:00:00Z",
        "2026-00-31T12:00:00Z",
        "2026-13-01T12:00:00Z",
        "2026-02-29T12:00:00Z",
        "2100-02-29T12:00:00Z",
        "2026-04-31T12:00:00Z",
        "2026-01-00T12:00:00Z",
        "2026-01-31T24:00:00Z",
        "2026-01-31T12:60:00Z",
        "2026-01-31T12:00:60Z",
        "2026-01-31T12:00:00.Z",
        "2026-01-31T12:00:00,5Z",
        "2026-01-31T12:00:00Zx",
        "2026-01-31T12:00:00+2:00",
        "2026-01-31T12:00:00+24:00",
        "2026-01-31T12:00:00+02:60",
        "2026-01-31T12:00:00+0200",
        "-026-01-31T12:00:00Z",
        " 2026-01-31T12:00:00Z",
        "1969-12-31T23:59:59Z",
        "2262-04-11T23:47:16.854775808Z",
        "9999-12-31T23:59:59Z",
        "0000-01-01T00:00:00Z",
    };
    for (size_t i = 0; i < ARRAY_SIZE(good); i++) {
        uint64_t ns = 7;
        if (time_parse_rfc3339(good[i].text, &ns, NULL) != 0 || ns != good[i].ns)
            fail_msg("%s: %llu", good[i].text, (unsigned long long)ns);
    }
    for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
        struct error err = {0};
        uint64_t ns = 7;
        if (time_parse_rfc3339(bad[i], &ns, &err) != -EINVAL || ns != 7)
            fail_msg("\"%s\" passes", bad[i]);
        assert_int_equal(err.code, ERROR_INVALID);
        assert_non_null(strstr(err.message, bad[i]));
    }
}

static void test_comes_back(void **state)
{
    char text[32];
    uint64_t ns = 0;
    time_format_rfc3339(1769860800 * SECOND + 123000000, text);
    assert_int_equal(time_parse_rfc3339(text, &ns, NULL), 0);
    assert_int_equal(ns, 1769860800 * SECOND + 123000000);
}

struct rate {
    const char *text;
    uint64_t bytes;
};

typedef int parser(const char *text, uint64_t *bytes, struct error *err);

static void check(parser *parse, const struct rate *good, size_t good_count, const char *const *bad,
                  size_t bad_count)
{
    for (size_t i = 0; i < good_count; i++) {
        uint64_t bytes = 7;
        if (parse(good[i].text, &bytes, NULL) != 0 || bytes != good[i].bytes)
            fail_msg("%s: %llu", good[i].text, (unsigned long long)bytes);
    }
    for (size_t i = 0; i < bad_count; i++) {
        struct error err = {0};
        uint64_t bytes = 7;
        if (parse(bad[i], &bytes, &err) != -EINVAL || bytes != 7)
            fail_msg("\"%s\" passes", bad[i]);
        assert_int_equal(err.code, ERROR_INVALID);
        assert_non_null(strstr(err.message, "is not a rate"));
    }
}

#define LONG "1000000000000000000000000000000000000000000000000000000000000000000"

static void test_rates(void **state)
{
    static const struct rate disk[] = {
        {"100MB/s", 100 << 20}, {"100MB", 100 << 20}, {"1GBps", 1 << 30},
        {"1gb/S", 1 << 30},     {"512", 512},
    };
    static const char *const not_disk[] = {"", "/s", "fast", "1.5MB/s", "1Mb/s/s", "-1MB/s", LONG};
    static const struct rate network[] = {
        {"1Gbps", 125000000}, {"8kbps", 1000},    {" 100mbps ", 12500000},
        {"8bps", 1},          {"1MB/s", 1 << 20}, {"125MB", 125 << 20},
    };
    static const char *const not_network[] = {
        "", "bps", "kbps", "1.5Gbps", "-1Gbps", "1Tbps", "fast", LONG, "99999999999999999999gbps"};
    check(rate_parse_disk, disk, ARRAY_SIZE(disk), not_disk, ARRAY_SIZE(not_disk));
    check(rate_parse_network, network, ARRAY_SIZE(network), not_network, ARRAY_SIZE(not_network));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_times),
        cmocka_unit_test(test_comes_back),
        cmocka_unit_test(test_rates),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
