/* SPDX-License-Identifier: Apache-2.0 */
/* GET /instances/{id}/logs: the format of the events to the byte, tail, follow, and ends. */
#include <fcntl.h>
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

#include "base/file.h"
#include "daemon_fixture.h"
#include "http_client.h"

static void log_append(const struct daemon *daemon, const char *name, const char *text,
                       size_t length)
{
    char path[256];
    snprintf(path, sizeof(path), "%s/%s.log", daemon->data, name);
    int fd = open(path, O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC, 0600);
    assert_true(fd >= 0);
    assert_int_equal(file_write_exact(fd, text, length, path, NULL), 0);
    close(fd);
}

static void expect_stream(const struct daemon *daemon, const char *query, const char *wanted)
{
    char path[128];
    snprintf(path, sizeof(path), "/instances/vm/logs%s", query);
    struct http_reply reply = http_call(daemon, "GET", path, NULL);
    assert_int_equal(reply.status, 200);
    assert_string_equal(http_header(&reply, "Content-Type"), "text/event-stream");
    assert_string_equal(http_header(&reply, "Cache-Control"), "no-cache");
    assert_string_equal(http_header(&reply, "X-Accel-Buffering"), "no");
    assert_string_equal(reply.body, wanted);
    http_release(&reply);
}

static void test_format(void **state)
{
    struct daemon *daemon = *state;
    expect_stream(daemon, "?tail=2", "data: \"line 4 of vm\"\n\ndata: \"line 5 of vm\"\n\n");
    static const char odd[] = "quote \" back \\ tab \t bell \a <&>\r\n\xff\xc3\xa4\n\n\0z\nlast";
    log_append(daemon, "vm.app", odd, sizeof(odd) - 1);
    expect_stream(daemon, "?tail=5&source=app",
                  "data: \"quote \\\" back \\\\ tab \\t bell \\u0007 <&>\"\n\n"
                  "data: \"\xef\xbf\xbd\xc3\xa4\"\n\n"
                  "data: \"\"\n\n"
                  "data: \"\\u0000z\"\n\n"
                  "data: \"last\"\n\n");
    expect_stream(daemon, "?tail=0", "");
}

static void test_default_tail(void **state)
{
    struct daemon *daemon = *state;
    for (int i = 0; i < 200; i++)
        log_append(daemon, "vm.app", "more\n", 5);
    struct http_reply reply = http_call(daemon, "GET", "/instances/vm/logs?follow=false", NULL);
    assert_int_equal(reply.body_length, 100 * strlen("data: \"more\"\n\n"));
    http_release(&reply);
}

static void test_refused(void **state)
{
    struct daemon *daemon = *state;
    static const char *const bad[] = {"?tail=x",     "?tail=-1",      "?tail=",
                                      "?follow=yes", "?source=guest", "?tail=99999999999999999999",
                                      "?tail=1x"};
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        char path[128];
        snprintf(path, sizeof(path), "/instances/vm/logs%s", bad[i]);
        http_refused(daemon, "GET", path, NULL, 400, "Bad Request", "must be");
    }
    http_refused(daemon, "GET", "/instances/vm/logs?source=vmm", NULL, 404, "log_not_found", "");
    http_refused(daemon, "GET", "/instances/vm/logs?source=hypeman", NULL, 404, "log_not_found",
                 "");
    http_refused(daemon, "GET", "/instances/none/logs?source=hypeman", NULL, 404, "not_found",
                 "none");
    http_refused(daemon, "GET", "/instances/none/logs", NULL, 404, "not_found", "none");
    log_append(daemon, "vm.vmm", "started\n", 8);
    expect_stream(daemon, "?source=vmm", "data: \"started\"\n\n");
}

/* The log of operations goes on in a new file when it is full; a tail reaches into the older one.
 */
static void test_operations(void **state)
{
    struct daemon *daemon = *state;
    log_append(daemon, "vm.operations", "three\nfour\n", 11);
    expect_stream(daemon, "?source=hypeman", "data: \"three\"\n\ndata: \"four\"\n\n");
    log_append(daemon, "vm.operations-older", "one\ntwo\n", 8);
    static const struct {
        const char *query, *wanted;
    } cases[] = {
        {"&tail=0", ""},
        {"&tail=1", "data: \"four\"\n\n"},
        {"&tail=2", "data: \"three\"\n\ndata: \"four\"\n\n"},
        {"&tail=3", "data: \"two\"\n\ndata: \"three\"\n\ndata: \"four\"\n\n"},
        {"", "data: \"one\"\n\ndata: \"two\"\n\ndata: \"three\"\n\ndata: \"four\"\n\n"},
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        char query[64];
        snprintf(query, sizeof(query), "?source=hypeman%s", cases[i].query);
        expect_stream(daemon, query, cases[i].wanted);
    }
    log_append(daemon, "vm.app", "not this\n", 9);
    expect_stream(daemon, "?source=app&tail=1", "data: \"not this\"\n\n");
}

/* Reads from a stream until `first` and then `wanted` have come. */
static void await_texts(int fd, const char *first, const char *wanted)
{
    char text[8192] = "";
    size_t length = 0;
    while (!strstr(text, first) || !strstr(strstr(text, first), wanted)) {
        assert_true(length + 1 < sizeof(text));
        ssize_t n = recv(fd, text + length, sizeof(text) - 1 - length, 0);
        assert_true(n > 0);
        length += (size_t)n;
        text[length] = '\0';
    }
}

static void await_text(int fd, const char *wanted)
{
    await_texts(fd, "", wanted);
}

/* Lines that come into the new file, behind those that came into the old one before it gave way. */
static void test_follow_operations(void **state)
{
    struct daemon *daemon = *state;
    char log[256], older[256];
    snprintf(log, sizeof(log), "%s/vm.operations.log", daemon->data);
    snprintf(older, sizeof(older), "%s/vm.operations-older.log", daemon->data);
    log_append(daemon, "vm.operations", "one\n", 4);
    int fd = http_open(daemon);
    http_send_text(fd, "GET /instances/vm/logs?source=hypeman&follow=true HTTP/1.1\r\nHost: t\r\n"
                       "Connection: close\r\n\r\n");
    await_text(fd, "data: \"one\"\n\n");
    log_append(daemon, "vm.operations", "two\n", 4);
    assert_int_equal(rename(log, older), 0);
    log_append(daemon, "vm.operations", "three\n", 6);
    await_texts(fd, "data: \"two\"\n\n", "data: \"three\"\n\n");
    close(fd);
}

static int follow(const struct daemon *daemon)
{
    int fd = http_open(daemon);
    http_send_text(fd, "GET /instances/vm/logs?tail=1&follow=true HTTP/1.1\r\nHost: t\r\n"
                       "Connection: close\r\n\r\n");
    await_text(fd, "data: \"line 5 of vm\"\n\n");
    return fd;
}

static void test_follow(void **state)
{
    struct daemon *daemon = *state;
    int fd = follow(daemon);
    log_append(daemon, "vm.app", "half", 4);
    log_append(daemon, "vm.app", " line\nnext\n", 11);
    await_text(fd, "data: \"next\"\n\n");
    close(fd);
}

/* The instance goes: the stream ends properly, with the last chunk. */
static void test_follow_deleted(void **state)
{
    struct daemon *daemon = *state;
    int fd = follow(daemon);
    struct http_reply reply = http_call(daemon, "DELETE", "/instances/vm", NULL);
    assert_int_equal(reply.status, 204);
    http_release(&reply);
    await_text(fd, "0\r\n\r\n");
    close(fd);
}

/* tined stops although streams are open, and ends them properly. */
static void test_follow_stop(void **state)
{
    struct daemon *daemon = *state;
    int fds[8];
    for (size_t i = 0; i < 8; i++)
        fds[i] = follow(daemon);
    daemon_terminate(daemon);
    for (size_t i = 0; i < 8; i++) {
        await_text(fds[i], "0\r\n\r\n");
        close(fds[i]);
    }
    daemon_spawn(daemon, daemon_program(), NULL);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, daemon_setup_vm, daemon_teardown)

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        TEST(test_format),         TEST(test_default_tail),      TEST(test_refused),
        TEST(test_operations),     TEST(test_follow_operations), TEST(test_follow),
        TEST(test_follow_deleted), TEST(test_follow_stop),
    };
    if (argc != 2)
        return 2;
    daemon_program_set(argv[1]);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
