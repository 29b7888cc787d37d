/* SPDX-License-Identifier: Apache-2.0 */
/* clang-format off */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>
/* clang-format on */
#include <string.h>

#include "http/parser.h"

#define LIMIT 100u

/* Feeds `text` in pieces of `piece` bytes up to the first event. */
static enum http_event feed(struct http_parser *parser, const char *text, size_t piece)
{
    size_t length = strlen(text);
    while (length > 0) {
        size_t now = length < piece ? length : piece, consumed = 0;
        enum http_event event = http_parser_feed(parser, text, now, &consumed);
        assert_true(consumed <= now);
        if (event != HTTP_MORE)
            return event;
        assert_int_equal(consumed, now);
        text += consumed;
        length -= consumed;
    }
    return HTTP_MORE;
}

static void test_request(void **state)
{
    static const char text[] = "PUT /drives/a HTTP/1.1\r\nHost: x\r\ncontent-length:  5 \r\n"
                               "Accept: */*\r\n\r\nhello";
    for (size_t piece = 1; piece < sizeof(text); piece++) {
        struct http_parser parser;
        http_parser_init(&parser, LIMIT);
        assert_int_equal(feed(&parser, text, piece), HTTP_REQUEST);
        assert_string_equal(parser.request.method, "PUT");
        assert_string_equal(parser.request.path, "/drives/a");
        assert_int_equal(parser.request.body_length, 5);
        assert_string_equal(parser.request.body, "hello");
        assert_false(parser.request.close);
        http_parser_free(&parser);
    }
}

static void test_next_request(void **state)
{
    struct http_parser parser;
    static const char text[] = "PUT /a HTTP/1.1\r\nContent-Length: 2\r\n\r\nxx\r\n"
                               "GET /b HTTP/1.1\r\n\r\n";
    size_t consumed = 0;
    http_parser_init(&parser, LIMIT);
    assert_int_equal(http_parser_feed(&parser, text, strlen(text), &consumed), HTTP_REQUEST);
    assert_string_equal(parser.request.path, "/a");
    http_parser_next(&parser);
    assert_null(parser.request.body);
    assert_int_equal(feed(&parser, text + consumed, 100), HTTP_REQUEST);
    assert_string_equal(parser.request.path, "/b");
    assert_null(parser.request.body);
    assert_int_equal(parser.body_limit, LIMIT);
    http_parser_free(&parser);
}

static void test_targets(void **state)
{
    static const struct {
        const char *text, *path;
    } cases[] = {
        {"GET / HTTP/1.1\r\n\r\n", "/"},
        {"GET http://localhost/vm/config HTTP/1.1\r\n\r\n", "/vm/config"},
        {"GET HTTP://localhost HTTP/1.1\r\n\r\n", "/"},
        {"GET /a?b=c HTTP/1.0\r\n\r\n", "/a?b=c"},
        {"\r\n\r\nGET /a HTTP/1.1\r\n\r\n", "/a"},
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct http_parser parser;
        http_parser_init(&parser, LIMIT);
        assert_int_equal(feed(&parser, cases[i].text, 3), HTTP_REQUEST);
        assert_string_equal(parser.request.path, cases[i].path);
        http_parser_free(&parser);
    }
}

static void test_continue(void **state)
{
    struct http_parser parser;
    http_parser_init(&parser, LIMIT);
    assert_int_equal(
        feed(&parser, "PUT / HTTP/1.1\r\nExpect: 100-Continue\r\nContent-Length: 1\r\n\r\n", 7),
        HTTP_CONTINUE);
    assert_int_equal(feed(&parser, "x", 1), HTTP_REQUEST);
    http_parser_next(&parser);
    /* No body is expected: nothing to wait for. */
    assert_int_equal(feed(&parser, "GET / HTTP/1.1\r\nExpect: 100-continue\r\n\r\n", 7),
                     HTTP_REQUEST);
    http_parser_free(&parser);
}

static void test_bad(void **state)
{
    static const char *const bad[] = {
        " GET / HTTP/1.1\n",
        "GET  HTTP/1.1\r\n",
        "GET / HTTP/1.1 x\r\n",
        "G3T / HTTP/1.1\r\n",
        "ABCDEFGHIJKLMNOPQ / HTTP/1.1\r\n",
        "GET / http/1.1\r\n",
        "GET / HTTP/1.1\r\n folded: x\r\n",
        "GET / HTTP/1.1\r\nName : x\r\n",
        "GET / HTTP/1.1\r\nA: \x01\r\n",
        "GET / HTTP/1.1\r\nA: b\rc\r\n",
        "GET / HTTP/1.1\r\nContent-Length: 1 1\r\n",
        "GET / HTTP/1.1\r\nContent-Length: +1\r\n",
        "GET / HTTP/1.1\r\nContent-Length: 99999999999999999999\r\n",
        "GET / HTTP/1.1\r\nContent-Length:\r\n",
        "GET / HTTP/1.1\r\nContent-Length: 101\r\n\r\n",
    };
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        struct http_parser parser;
        size_t consumed = 0;
        http_parser_init(&parser, LIMIT);
        assert_int_equal(feed(&parser, bad[i], 5), HTTP_BAD);
        assert_non_null(parser.reason);
        /* And it stays bad. */
        assert_int_equal(http_parser_feed(&parser, "GET", 3, &consumed), HTTP_BAD);
        http_parser_free(&parser);
    }
}

static void test_header_count(void **state)
{
    struct http_parser parser;
    http_parser_init(&parser, LIMIT);
    assert_int_equal(feed(&parser, "GET / HTTP/1.1\r\n", 99), HTTP_MORE);
    for (unsigned i = 0; i < HTTP_HEADER_LIMIT; i++)
        assert_int_equal(feed(&parser, "A: b\r\n", 99), HTTP_MORE);
    assert_int_equal(feed(&parser, "A: b\r\n", 99), HTTP_BAD);
    http_parser_free(&parser);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_request), cmocka_unit_test(test_next_request),
        cmocka_unit_test(test_targets), cmocka_unit_test(test_continue),
        cmocka_unit_test(test_bad),     cmocka_unit_test(test_header_count),
    };
    return cmocka_run_group_tests_name("http parser", tests, NULL, NULL);
}
