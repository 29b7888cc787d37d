/* SPDX-License-Identifier: Apache-2.0 */
/* The small parts: sizes, durations, URIs, UTF-8, SHA-1, the table of problems. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "api/json_text.h"
#include "api/problem.h"
#include "api/uri.h"
#include "api/websocket.h"
#include "base/cleanup.h"
#include "base/duration.h"
#include "base/size.h"
#include "base/utf8.h"

static void test_size_parse(void **state)
{
    static const struct {
        const char *text;
        uint64_t bytes;
    } good[] = {
        {"0", 0},
        {"512", 512},
        {"1B", 1},
        {"1k", 1024},
        {"1KB", 1024},
        {"1kb", 1024},
        {"1KiB", 1024},
        {"256MB", 256ull << 20},
        {"256 MB", 256ull << 20},
        {"2g", 2ull << 30},
        {"3GB", 3ull << 30},
        {"4T", 4ull << 40},
        {"5PB", 5ull << 50},
        {"15EB", 15ull << 60},
        {"18446744073709551615", UINT64_MAX},
    };
    static const char *const bad[] = {
        "",    "MB",   "-1",   "+1",   "1.5GB", "1 XB", "1MBB", "1Mb",   "1Kb",
        "1Gb", "1MB ", " 1MB", "16EB", "0x10",  "1e3",  "1iB",  "1 B B", "99999999999999999999"};
    for (size_t i = 0; i < ARRAY_SIZE(good); i++) {
        uint64_t bytes = 1;
        assert_int_equal(size_parse(good[i].text, &bytes, NULL), 0);
        assert_true(bytes == good[i].bytes);
    }
    for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
        struct error err = {0};
        uint64_t bytes = 7;
        if (size_parse(bad[i], &bytes, &err) == 0)
            fail_msg("\"%s\" passes", bad[i]);
        assert_true(bytes == 7);
        assert_int_equal(err.code, ERROR_INVALID);
        assert_non_null(strstr(err.message, bad[i]));
    }
}

static void test_size_format(void **state)
{
    static const struct {
        uint64_t bytes;
        const char *text;
    } cases[] = {
        {0, "0 B"},
        {1024, "1024 B"},
        {1025, "1.0 KB"},
        {1ull << 20, "1024.0 KB"},
        {256ull << 20, "256.0 MB"},
        {1ull << 30, "1024.0 MB"},
        {2ull << 30, "2.0 GB"},
        {10ull << 30, "10.0 GB"},
        {3ull << 29, "1.5 GB"},
        {UINT64_MAX, "16.0 EB"},
    };
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        char text[32];
        size_format(cases[i].bytes, text);
        assert_string_equal(text, cases[i].text);
    }
}

static void test_duration(void **state)
{
    static const struct {
        const char *text;
        int64_t ns;
        const char *canonical;
    } good[] = {
        {"0", 0, "0s"},
        {"0s", 0, "0s"},
        {"30s", 30000000000, "30s"},
        {"5m", 300000000000, "5m0s"},
        {"1h30m", 5400000000000, "1h30m0s"},
        {"1.5h", 5400000000000, "1h30m0s"},
        {"250ms", 250000000, "250ms"},
        {"1.5s", 1500000000, "1.5s"},
        {".5s", 500000000, "500ms"},
        {"1.s", 1000000000, "1s"},
        {"12us", 12000, "12\xc2\xb5s"},
        {"1.5\xc2\xb5s", 1500, "1.5\xc2\xb5s"},
        {"1\xce\xbcs", 1000, "1\xc2\xb5s"},
        {"7ns", 7, "7ns"},
        {"-1m", -60000000000, "-1m0s"},
        {"+1m", 60000000000, "1m0s"},
        {"2h0m0.25s", 7200250000000, "2h0m0.25s"},
        {"9223372036854775807ns", INT64_MAX, "2562047h47m16.854775807s"},
    };
    static const char *const bad[] = {"",
                                      "s",
                                      "1",
                                      "1x",
                                      "1 s",
                                      "1s ",
                                      "--1s",
                                      ".s",
                                      "1d",
                                      "1sm",
                                      "five",
                                      "2562048h",
                                      "-",
                                      "+",
                                      "0x1s",
                                      "9223372036854775808ns",
                                      "99999999999999999999h"};
    for (size_t i = 0; i < ARRAY_SIZE(good); i++) {
        int64_t ns = 1;
        char text[40];
        if (duration_parse(good[i].text, &ns, NULL) != 0)
            fail_msg("\"%s\" is refused", good[i].text);
        assert_true(ns == good[i].ns);
        duration_format(ns, text);
        assert_string_equal(text, good[i].canonical);
    }
    for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
        struct error err = {0};
        int64_t ns;
        if (duration_parse(bad[i], &ns, &err) == 0)
            fail_msg("\"%s\" passes", bad[i]);
        assert_int_equal(err.code, ERROR_INVALID);
    }
}

/* Whatever the bytes: no crash, and what is accepted can be printed and read again. */
static void test_random_values(void **state)
{
    static const char letters[] = "0123456789.hmsnuKMGTPEBib -+\xc2\xb5";
    unsigned seed = 42;
    for (int round = 0; round < 200000; round++) {
        char text[16], printed[40];
        size_t length = (size_t)rand_r(&seed) % sizeof(text);
        for (size_t i = 0; i < length; i++)
            text[i] = letters[(size_t)rand_r(&seed) % (sizeof(letters) - 1)];
        text[length < sizeof(text) ? length : sizeof(text) - 1] = '\0';
        uint64_t bytes;
        int64_t ns, again;
        size_parse(text, &bytes, NULL);
        if (duration_parse(text, &ns, NULL) != 0)
            continue;
        duration_format(ns, printed);
        assert_int_equal(duration_parse(printed, &again, NULL), 0);
        assert_true(ns == again);
    }
}

static void test_uri(void **state)
{
    struct uri uri;
    assert_int_equal(uri_parse(&uri, "/instances/a%2Fb/logs?tail=5&tags%5Bx%5D=a+b&flag&&e="), 0);
    assert_int_equal(uri.segment_count, 3);
    assert_string_equal(uri.segments[1], "a/b");
    assert_string_equal(uri_query(&uri, "tail"), "5");
    assert_string_equal(uri_query(&uri, "tags[x]"), "a b");
    assert_string_equal(uri_query(&uri, "flag"), "");
    assert_string_equal(uri_query(&uri, "e"), "");
    assert_null(uri_query(&uri, "none"));
    uri_release(&uri);
    static const char *const bad[] = {
        "",    "x",   "*", "/%", "/%4", "/%zz", "/a%00", "/a?b=%00", "/1/2/3/4/5/6/7/8/9",
        "/?%", "/a%0"};
    for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
        if (uri_parse(&uri, bad[i]) != -EINVAL)
            fail_msg("\"%s\" passes", bad[i]);
        uri_release(&uri);
    }
    assert_int_equal(uri_parse(&uri, "/"), 0);
    assert_int_equal(uri.segment_count, 0);
    uri_release(&uri);
    assert_int_equal(uri_parse(&uri, "/a//b/"), 0);
    assert_int_equal(uri.segment_count, 3);
    assert_string_equal(uri.segments[1], "");
    uri_release(&uri);
}

static void test_utf8(void **state)
{
    static const struct {
        const char *text;
        size_t length;
    } cases[] = {
        {"a", 1},
        {"\x7f", 1},
        {"\xc3\xa4", 2},
        {"\xe2\x82\xac", 3},
        {"\xf0\x9f\x98\x80", 4},
        {"\xf4\x8f\xbf\xbf", 4},
        {"\xc0\x80", 0},         /* overlong */
        {"\xe0\x80\x80", 0},     /* overlong */
        {"\xed\xa0\x80", 0},     /* surrogate */
        {"\xf4\x90\x80\x80", 0}, /* beyond U+10FFFF */
        {"\xff", 0},
        {"\x80", 0},
        {"\xc3", 0},
        {"\xe2\x82", 0},
        {"\xe2\x28\xa1", 0},
    };
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++)
        assert_int_equal(utf8_sequence(cases[i].text, strlen(cases[i].text)), cases[i].length);
    json_t *text = json_text("a\xff\xe2\x82z\0", 6);
    assert_non_null(text);
    assert_int_equal(json_string_length(text), 1 + 3 + 3 + 3 + 1 + 1);
    assert_memory_equal(json_string_value(text), "a\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbdz\0", 12);
    json_decref(text);
}

static void test_problem(void **state)
{
    static const struct {
        enum error_code code;
        unsigned status;
        const char *text;
    } cases[] = {
        {ERROR_SYSTEM, 500, "internal_error"},
        {ERROR_INVALID, 400, "invalid_request"},
        {ERROR_NOT_FOUND, 404, "not_found"},
        {ERROR_AMBIGUOUS, 409, "ambiguous"},
        {ERROR_STATE, 409, "invalid_state"},
        {ERROR_NAME, 409, "name_conflict"},
        {ERROR_RESOURCES, 409, "insufficient_resources"},
        {ERROR_UNSUPPORTED, 501, "not_supported"},
        {ERROR_CORRUPT, 500, "internal_error"},
        {ERROR_TIMEOUT, 500, "internal_error"},
        {(enum error_code)99, 500, "internal_error"},
    };
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        struct error err = {.code = cases[i].code, .errnum = EIO, .message = "why"};
        struct problem problem = {0};
        problem_from_error(&problem, &err);
        assert_int_equal(problem.status, cases[i].status);
        assert_string_equal(problem.code, cases[i].text);
        assert_string_equal(problem.message, "why");
        problem_set(&problem, 418, "other", "later");
        assert_int_equal(problem.status, cases[i].status);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_size_parse), cmocka_unit_test(test_size_format),
        cmocka_unit_test(test_duration),   cmocka_unit_test(test_random_values),
        cmocka_unit_test(test_uri),        cmocka_unit_test(test_utf8),
        cmocka_unit_test(test_problem),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
