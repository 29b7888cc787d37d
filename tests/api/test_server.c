/* SPDX-License-Identifier: Apache-2.0 */
/* tined as a process: its socket, its limits, slow and broken clients, how it stops. */
#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/cleanup.h"
#include "base/clock.h"
#include "base/file.h"
#include "base/unix_socket.h"
#include "daemon_fixture.h"
#include "http_client.h"
#include "websocket_client.h"

static const char *const short_timeout[] = {"--request-timeout", "1s", NULL};

static int setup(void **state)
{
    static struct daemon daemon;
    daemon_start(&daemon, daemon_program(), short_timeout);
    *state = &daemon;
    return 0;
}

static void test_options(void **state)
{
    static const struct {
        const char *arguments[4];
        int status;
        const char *part;
    } cases[] = {
        {{"--help"}, 0, "--data-dir DIR"},
        {{"--version"}, 0, "tined 0."},
        {{"--nonsense"}, 2, "tined: unknown option --nonsense; see tined --help"},
        {{"--socket"}, 2, "--socket needs a value"},
        {{"extra"}, 2, "unexpected argument extra"},
        {{"--log-level", "loud"}, 2, "--log-level: \"loud\" is not"},
        {{"--log-format", "xml"}, 2, "--log-format: \"xml\" is not text, json or journal"},
        {{"--agent-timeout", "fast"}, 2, "--agent-timeout: \"fast\" is not a duration"},
        {{"--agent-timeout", "-1s"}, 2, "out of range"},
        {{"--request-timeout", "9999999h"}, 2, "--request-timeout"},
    };
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        char output[4096];
        assert_int_equal(
            program_output(daemon_program(), cases[i].arguments, output, sizeof(output)),
            cases[i].status);
        if (!strstr(output, cases[i].part))
            fail_msg("\"%s\" is not in \"%s\"", cases[i].part, output);
    }
}

static void test_socket_mode(void **state)
{
    struct daemon *daemon = *state;
    struct stat st;
    char directory[256];
    assert_int_equal(stat(daemon->socket, &st), 0);
    assert_int_equal(st.st_mode & 07777, 0600);
    snprintf(directory, sizeof(directory), "%s/run", daemon->dir);
    assert_int_equal(stat(directory, &st), 0);
    assert_int_equal(st.st_mode & 07777, 0700);
}

static int second_tined(const struct daemon *daemon, char *output, size_t size)
{
    char data[256];
    snprintf(data, sizeof(data), "%s/other", daemon->dir);
    const char *arguments[] = {"--socket", daemon->socket, "--data-dir", data, NULL};
    return program_output(daemon_program(), arguments, output, size);
}

static void test_socket_live(void **state)
{
    struct daemon *daemon = *state;
    char output[4096];
    assert_int_equal(second_tined(daemon, output, sizeof(output)), 1);
    assert_non_null(strstr(output, "another tined answers on"));
    json_decref(http_expect(daemon, "GET", "/health", NULL, 200));
}

static void test_socket_stale(void **state)
{
    struct daemon *daemon = *state;
    kill(daemon->pid, SIGKILL);
    assert_int_equal(daemon_reap(daemon), 128 + SIGKILL);
    assert_int_equal(access(daemon->socket, F_OK), 0);
    daemon_spawn(daemon, daemon_program(), NULL);
    json_decref(http_expect(daemon, "GET", "/health", NULL, 200));
    daemon_terminate(daemon);
    assert_int_equal(access(daemon->socket, F_OK), -1);
    daemon_spawn(daemon, daemon_program(), NULL);
}

static void test_socket_is_file(void **state)
{
    struct daemon *daemon = *state;
    char output[4096];
    daemon_terminate(daemon);
    int fd = open(daemon->socket, O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
    assert_true(fd >= 0);
    close(fd);
    assert_int_equal(second_tined(daemon, output, sizeof(output)), 1);
    assert_non_null(strstr(output, "exists and is not a socket"));
    assert_int_equal(access(daemon->socket, F_OK), 0);
    unlink(daemon->socket);
    daemon_spawn(daemon, daemon_program(), NULL);
}

/* A tined whose socket was taken over must not remove its successor's. */
static void test_socket_successor(void **state)
{
    struct daemon *daemon = *state, second = *daemon;
    assert_int_equal(unlink(daemon->socket), 0);
    daemon_spawn(&second, daemon_program(), NULL);
    daemon_terminate(daemon);
    json_decref(http_expect(&second, "GET", "/health", NULL, 200));
    daemon->pid = second.pid;
}

static void expect_413(const struct http_reply *reply)
{
    assert_int_equal(reply->status, 413);
    assert_non_null(reply->json);
    assert_string_equal(text_of(reply->json, "code"), "Content Too Large");
}

static void test_body_limit(void **state)
{
    struct daemon *daemon = *state;
    const size_t limit = 1u << 20;
    _cleanup_(free) char *body = malloc(limit + 2);
    memset(body, ' ', limit + 1);
    body[limit + 1] = '\0';
    body[0] = '{';
    body[limit] = '}'; /* one byte too many */
    struct http_reply reply = http_call(daemon, "POST", "/instances", body);
    expect_413(&reply);
    http_release(&reply);
    body[limit - 1] = '}'; /* just fits */
    body[limit] = '\0';
    json_decref(http_expect(daemon, "POST", "/instances", body, 201));
    /* Announced only: refused before it is sent. */
    int fd = http_open(daemon);
    http_send_text(fd, "POST /instances HTTP/1.1\r\nHost: t\r\nConnection: close\r\n"
                       "Content-Length: 18446744073709551615\r\n\r\n");
    reply = http_finish(fd);
    assert_true(reply.status == 413 || reply.status == 400 || reply.status == 0);
    http_release(&reply);
    fd = http_open(daemon);
    http_send_text(fd, "POST /instances HTTP/1.1\r\nHost: t\r\nConnection: close\r\n"
                       "Content-Length: 1048577\r\n\r\n");
    reply = http_finish(fd);
    expect_413(&reply);
    http_release(&reply);
}

static void test_body_limit_chunked(void **state)
{
    int fd = http_open(*state);
    char chunk[65536];
    memset(chunk, ' ', sizeof(chunk));
    http_send_text(fd, "POST /instances HTTP/1.1\r\nHost: t\r\nConnection: close\r\n"
                       "Transfer-Encoding: chunked\r\n\r\n");
    for (int i = 0; i < 20; i++) {
        http_send_text(fd, "10000\r\n");
        http_send(fd, chunk, sizeof(chunk));
        http_send_text(fd, "\r\n");
    }
    http_send_text(fd, "0\r\n\r\n");
    struct http_reply reply = http_finish(fd);
    expect_413(&reply);
    http_release(&reply);
    /* Without an end: given up on, not swallowed for ever. */
    fd = http_open(*state);
    http_send_text(fd, "POST /instances HTTP/1.1\r\nHost: t\r\nTransfer-Encoding: chunked\r\n\r\n");
    for (int i = 0; i < 400; i++) {
        http_send_text(fd, "10000\r\n");
        http_send(fd, chunk, sizeof(chunk));
        http_send_text(fd, "\r\n");
    }
    reply = http_finish(fd);
    assert_int_equal(reply.status, 0);
    http_release(&reply);
}

static void test_headers_too_large(void **state)
{
    int fd = http_open(*state);
    char header[1024];
    memset(header, 'h', sizeof(header));
    header[1] = ':';
    header[sizeof(header) - 2] = '\r';
    header[sizeof(header) - 1] = '\n';
    http_send_text(fd, "GET /health HTTP/1.1\r\nHost: t\r\n");
    for (int i = 0; i < 100; i++)
        http_send(fd, header, sizeof(header));
    http_send_text(fd, "\r\n");
    struct http_reply reply = http_finish(fd);
    assert_true(reply.status == 0 || reply.status == 431 || reply.status == 413);
    http_release(&reply);
    json_decref(http_expect(*state, "GET", "/health", NULL, 200));
}

/* A client that stops in the middle of its request is dropped; the others are served meanwhile. */
static void test_slow_client(void **state)
{
    static const char *const parts[] = {
        "GET /hea",
        "GET /health HTTP/1.1\r\nHost:",
        "POST /instances HTTP/1.1\r\nHost: t\r\nContent-Length: 10\r\n\r\n{\"a\"",
        "POST /instances HTTP/1.1\r\nHost: t\r\nTransfer-Encoding: chunked\r\n\r\n5\r\n{",
        "",
    };
    int fds[ARRAY_SIZE(parts)];
    for (size_t i = 0; i < ARRAY_SIZE(parts); i++) {
        fds[i] = http_open(*state);
        http_send_text(fds[i], parts[i]);
    }
    json_decref(http_expect(*state, "GET", "/health", NULL, 200));
    for (size_t i = 0; i < ARRAY_SIZE(parts); i++) {
        struct http_reply reply = http_finish(fds[i]); /* ends, or the receive time-out fails it */
        assert_true(reply.status == 0 || reply.status == 408 || reply.status == 400);
        http_release(&reply);
    }
}

/* A client that is never silent but never done is dropped too, wherever in the request it is. */
static void test_trickling_client(void **state)
{
    static const char *const parts[] = {
        "GET /hea",
        "GET /health HTTP/1.1\r\nHost: t\r\nX: ",
        "POST /instances HTTP/1.1\r\nHost: t\r\nContent-Length: 1000000\r\n\r\n",
        "POST /instances HTTP/1.1\r\nHost: t\r\nTransfer-Encoding: chunked\r\n\r\nf4240\r\n",
        "GET /health HTTP/1.1\r\nHost: t\r\n\r\nGET /hea", /* the second of a connection */
    };
    int fds[ARRAY_SIZE(parts)];
    size_t left = ARRAY_SIZE(parts);
    for (size_t i = 0; i < ARRAY_SIZE(parts); i++) {
        fds[i] = http_open(*state);
        http_send_text(fds[i], parts[i]);
    }
    for (unsigned tenths = 0; left > 0; tenths++) {
        assert_true(tenths < 600); /* four seconds are allowed */
        for (size_t i = 0; i < ARRAY_SIZE(parts); i++) {
            if (fds[i] < 0 || send(fds[i], "a", 1, MSG_NOSIGNAL) == 1)
                continue;
            close(fds[i]);
            fds[i] = -1;
            left--;
        }
        time_sleep_ms(100);
    }
    json_decref(http_expect(*state, "GET", "/health", NULL, 200));
}

/* The time-out is for the request, not for the operation: this one takes longer than it. */
static void test_long_operation(void **state)
{
    json_decref(http_expect(*state, "POST", "/instances", "{\"name\":\"nap-1\"}", 201));
}

static void test_keep_alive(void **state)
{
    int fd = http_open(*state);
    char text[4096];
    for (int i = 0; i < 3; i++) {
        http_send_text(fd, "GET /health HTTP/1.1\r\nHost: t\r\n\r\n");
        size_t length = 0;
        do {
            ssize_t n = recv(fd, text + length, sizeof(text) - 1 - length, 0);
            assert_true(n > 0);
            length += (size_t)n;
            text[length] = '\0';
        } while (!strstr(text, "\"ok\""));
    }
    close(fd);
}

static void test_garbage(void **state)
{
    static const char *const garbage[] = {
        "\r\n\r\n\r\n",
        "nonsense\r\n\r\n",
        "GET\r\n\r\n",
        "GET / HTTP/9.9\r\n\r\n",
        "\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
        "GET /instances/a/b/c/d/e/f/g/h/i/j HTTP/1.1\r\nHost: t\r\nConnection: close\r\n\r\n",
        "POST /instances HTTP/1.1\r\nHost: t\r\nContent-Length: -5\r\n\r\n",
        "POST /instances HTTP/1.1\r\nHost: t\r\nContent-Length: x\r\n\r\n",
        "POST /instances HTTP/1.1\r\nHost: t\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
    };
    for (size_t i = 0; i < ARRAY_SIZE(garbage); i++) {
        int fd = http_open(*state);
        http_send_text(fd, garbage[i]);
        shutdown(fd, SHUT_WR);
        struct http_reply reply = http_finish(fd);
        assert_true(reply.status == 0 || (reply.status >= 400 && reply.status < 600));
        http_release(&reply);
    }
    unsigned seed = 5;
    for (int round = 0; round < 300; round++) {
        char bytes[256];
        int fd = http_open(*state);
        for (size_t i = 0; i < sizeof(bytes); i++)
            bytes[i] = (char)rand_r(&seed);
        if (round % 2)
            http_send_text(fd, "GET /");
        http_send(fd, bytes, 1 + (size_t)rand_r(&seed) % sizeof(bytes));
        close(fd);
    }
    json_decref(http_expect(*state, "GET", "/health", NULL, 200));
}

/* SIGTERM in the middle of an operation: it is finished and answered; nobody new gets in. */
static void test_stop_finishes(void **state)
{
    struct daemon *daemon = *state;
    int fd = http_open(daemon), idle = http_open(daemon);
    http_send_text(fd, "POST /instances HTTP/1.1\r\nHost: t\r\nConnection: close\r\n"
                       "Content-Length: 16\r\n\r\n{\"name\":\"nap-1\"}");
    time_sleep_ms(300);
    kill(daemon->pid, SIGTERM);
    while (access(daemon->socket, F_OK) == 0)
        time_sleep_ms(5);
    assert_true(unix_connect(daemon->socket, 0, NULL) < 0);
    /* A connection that was open already is refused in words, or closed. */
    time_sleep_ms(100);
    http_send_text(idle, "GET /health HTTP/1.1\r\nHost: t\r\nConnection: close\r\n\r\n");
    struct http_reply refused = http_finish(idle);
    assert_true(refused.status == 503 || refused.status == 0);
    if (refused.status == 503)
        assert_string_equal(http_header(&refused, "x-should-retry"), "false");
    http_release(&refused);
    struct http_reply reply = http_finish(fd);
    assert_int_equal(reply.status, 201);
    http_release(&reply);
    assert_int_equal(daemon_reap(daemon), 0);
    daemon_spawn(daemon, daemon_program(), NULL);
}

/* A second signal does not wait. */
static void test_stop_twice(void **state)
{
    struct daemon *daemon = *state;
    int fd = http_open(daemon);
    http_send_text(fd, "POST /instances HTTP/1.1\r\nHost: t\r\nContent-Length: 19\r\n\r\n"
                       "{\"name\":\"meet-9-1\"}");
    time_sleep_ms(300);
    kill(daemon->pid, SIGINT);
    while (access(daemon->socket, F_OK) == 0)
        time_sleep_ms(5);
    kill(daemon->pid, SIGTERM);
    assert_int_equal(daemon_reap(daemon), 1);
    close(fd);
    daemon_spawn(daemon, daemon_program(), NULL);
}

/* An exec session is told, with an exit code. */
static void test_stop_exec(void **state)
{
    struct daemon *daemon = *state;
    json_decref(http_expect(daemon, "POST", "/instances", "{\"name\":\"vm\"}", 201));
    int fd = ws_open(daemon, "vm"), silent = ws_open(daemon, "vm");
    ws_text(fd, "{\"command\":[\"wait\"]}");
    struct ws_frame frame = ws_receive(fd);
    free(frame.payload);
    kill(daemon->pid, SIGTERM);
    struct ws_result result = ws_finish(fd, false);
    assert_string_equal(result.out, "Error: tined is stopping\r\n");
    assert_int_equal(result.exit_code, 127);
    ws_release(&result);
    result = ws_finish(silent, false);
    ws_release(&result);
    assert_int_equal(daemon_reap(daemon), 0);
    daemon_spawn(daemon, daemon_program(), NULL);
}

/* Hundreds of idle connections do not keep others out. */
static void test_many_connections(void **state)
{
    int fds[300];
    for (size_t i = 0; i < ARRAY_SIZE(fds); i++)
        fds[i] = http_open(*state);
    json_decref(http_expect(*state, "GET", "/health", NULL, 200));
    for (size_t i = 0; i < ARRAY_SIZE(fds); i++)
        close(fds[i]);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, daemon_teardown)

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_options), TEST(test_socket_mode),
        TEST(test_socket_live),         TEST(test_socket_stale),
        TEST(test_socket_is_file),      TEST(test_socket_successor),
        TEST(test_body_limit),          TEST(test_body_limit_chunked),
        TEST(test_headers_too_large),   TEST(test_slow_client),
        TEST(test_trickling_client),    TEST(test_long_operation),
        TEST(test_keep_alive),          TEST(test_garbage),
        TEST(test_stop_finishes),       TEST(test_stop_twice),
        TEST(test_stop_exec),           TEST(test_many_connections),
    };
    if (argc != 2)
        return 2;
    daemon_program_set(argv[1]);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
