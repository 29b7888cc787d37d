/* SPDX-License-Identifier: Apache-2.0 */
/* GET /events and GET /metrics: format, replay, following, and readers that are too slow. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/cleanup.h"
#include "daemon_fixture.h"
#include "exposition.h"
#include "http_client.h"
#include "openapi.h"

static void make(const struct daemon *daemon, const char *name)
{
    char body[96];
    snprintf(body, sizeof(body), "{\"name\":\"%s\"}", name);
    json_decref(http_expect(daemon, "POST", "/instances", body, 201));
}

/* The events of a finished stream, as a list. */
static json_t *events_of(const struct daemon *daemon, const char *query)
{
    char path[128];
    snprintf(path, sizeof(path), "/events%s", query);
    struct http_reply reply = http_call(daemon, "GET", path, NULL);
    assert_int_equal(reply.status, 200);
    assert_string_equal(http_header(&reply, "Content-Type"), "text/event-stream");
    json_t *list = json_array();
    for (const char *at = reply.body; *at;) {
        assert_int_equal(strncmp(at, "data: ", 6), 0);
        const char *end = strstr(at, "\n\n");
        assert_non_null(end);
        json_t *event = json_loadb(at + 6, (size_t)(end - at) - 6, 0, NULL);
        assert_non_null(event);
        openapi_check_value("Event", event);
        json_array_append_new(list, event);
        at = end + 2;
    }
    http_release(&reply);
    return list;
}

static void test_format(void **state)
{
    struct daemon *daemon = *state;
    make(daemon, "web");
    struct http_reply reply = http_call(daemon, "DELETE", "/instances/web", NULL);
    http_release(&reply);
    json_t *list = events_of(daemon, "");
    assert_int_equal(json_array_size(list), 2);
    const char *time, *id, *name, *kind, *operation, *result, *message;
    const json_t *shown;
    assert_int_equal(
        json_unpack(json_array_get(list, 0), "{s:s, s:s, s:s, s:s, s:o, s:s, s:s, s:s!}", "time",
                    &time, "instance_id", &id, "instance_name", &name, "kind", &kind, "state",
                    &shown, "operation_id", &operation, "result", &result, "message", &message),
        0);
    assert_string_equal(name, "web");
    assert_string_equal(kind, "create");
    assert_string_equal(json_string_value(shown), "Running");
    assert_int_equal(strlen(time), strlen("2026-01-31T12:00:00.123Z"));
    assert_int_equal(strlen(id), 24);
    assert_int_equal(strlen(operation), 16);
    assert_string_equal(text_of(json_array_get(list, 1), "kind"), "delete");
    assert_true(json_is_null(json_object_get(json_array_get(list, 1), "state")));
    json_decref(list);
}

/* A text that is not UTF-8 is JSON all the same. */
static void test_broken_text(void **state)
{
    make(*state, "broken-1");
    json_t *list = events_of(*state, "");
    assert_string_equal(text_of(json_array_get(list, 0), "message"), "broken \xef\xbf\xbd here");
    json_decref(list);
}

static void test_since(void **state)
{
    struct daemon *daemon = *state;
    make(daemon, "a");
    make(daemon, "b");
    json_t *list = events_of(daemon, "?since=10m&follow=false");
    assert_int_equal(json_array_size(list), 2);
    json_decref(list);
    list = events_of(daemon, "?since=2540400h");
    assert_int_equal(json_array_size(list), 2);
    json_decref(list);
    list = events_of(daemon, "?since=0s");
    assert_int_equal(json_array_size(list), 0);
    json_decref(list);
}

static void test_refused(void **state)
{
    static const struct {
        const char *path, *part;
    } cases[] = {
        {"/events?since=x", "since: "},
        {"/events?since=", "since: "},
        {"/events?since=-1m", "since: must not be negative"},
        {"/events?since=10", "since: "},
        {"/events?follow=yes", "follow: must be true or false, not \"yes\""},
    };
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++)
        http_refused(*state, "GET", cases[i].path, NULL, 400, "Bad Request", cases[i].part);
    http_refused(*state, "POST", "/events", NULL, 405, "Method Not Allowed", "POST");
    http_refused(*state, "POST", "/metrics", NULL, 405, "Method Not Allowed", "POST");
}

static int follow(const struct daemon *daemon, const char *query)
{
    char text[128];
    int fd = http_open(daemon);
    snprintf(text, sizeof(text),
             "GET /events?follow=true%s HTTP/1.1\r\nHost: t\r\nConnection: close\r\n\r\n", query);
    http_send_text(fd, text);
    return fd;
}

/* Reads until `wanted` has come; keeps only what may be its beginning. */
static void await_text(int fd, const char *wanted)
{
    static char text[1 << 16];
    size_t length = 0;
    text[0] = '\0';
    while (!strstr(text, wanted)) {
        if (length > sizeof(text) / 2) {
            memmove(text, text + length - 1024, 1024);
            length = 1024;
        }
        ssize_t n = recv(fd, text + length, sizeof(text) - 1 - length, 0);
        assert_true(n > 0);
        length += (size_t)n;
        text[length] = '\0';
        for (size_t i = 0; i < length; i++)
            text[i] = text[i] ? text[i] : '?';
    }
}

static void test_follow(void **state)
{
    struct daemon *daemon = *state;
    make(daemon, "before");
    int replay = follow(daemon, "&since=1h");
    await_text(replay, "\"instance_name\":\"before\"");
    make(daemon, "after");
    await_text(replay, "\"instance_name\":\"after\"");
    close(replay);
}

/* tined stops although somebody follows, and ends the stream properly. */
static void test_follow_stop(void **state)
{
    struct daemon *daemon = *state;
    make(daemon, "web");
    int fd = follow(daemon, "&since=1h");
    await_text(fd, "\"instance_name\":\"web\"");
    daemon_terminate(daemon);
    await_text(fd, "0\r\n\r\n");
    close(fd);
    daemon_spawn(daemon, daemon_program(), NULL);
}

/* It does not read while far more happens than sockets and the ring hold: nobody waits for it, and
 * when it reads again the last thing it hears is that it was dropped. */
static void test_slow_reader(void **state)
{
    struct daemon *daemon = *state;
    make(daemon, "first");
    int slow = follow(daemon, "&since=1h");
    await_text(slow, "\"instance_name\":\"first\"");
    make(daemon, "flood-1");
    char tail[8192] = "";
    size_t length = 0;
    for (ssize_t n = 1; n > 0; length += (size_t)n) {
        if (length > sizeof(tail) / 2) {
            memmove(tail, tail + length - 1024, 1024);
            length = 1024;
        }
        n = recv(slow, tail + length, sizeof(tail) / 2 - 1, 0);
        assert_true(n >= 0);
        tail[length + (size_t)n] = '\0';
    }
    close(slow);
    const char *dropped = strstr(tail, "\"kind\":\"dropped\"");
    assert_non_null(dropped);
    assert_non_null(strstr(dropped, "read too slowly\"}\n\n\r\n0\r\n\r\n"));
    assert_null(strstr(dropped, "data:"));
}

static void test_metrics(void **state)
{
    struct daemon *daemon = *state;
    make(daemon, "a");
    make(daemon, "b");
    struct http_reply reply = http_call(daemon, "GET", "/metrics", NULL);
    assert_int_equal(reply.status, 200);
    assert_string_equal(http_header(&reply, "Content-Type"),
                        "text/plain; version=0.0.4; charset=utf-8");
    assert_exposition(reply.body);
    assert_sample(reply.body, "double_operations_total{kind=\"create\"}", 2);
    http_release(&reply);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, daemon_setup, daemon_teardown)

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        TEST(test_format), TEST(test_broken_text), TEST(test_since),       TEST(test_refused),
        TEST(test_follow), TEST(test_follow_stop), TEST(test_slow_reader), TEST(test_metrics),
    };
    if (argc != 2)
        return 2;
    daemon_program_set(argv[1]);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
