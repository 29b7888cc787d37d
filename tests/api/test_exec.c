/* SPDX-License-Identifier: Apache-2.0 */
/* GET /instances/{id}/exec: the handshake, the messages of both sides, and every way it can end. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/cleanup.h"
#include "base/clock.h"
#include "daemon_fixture.h"
#include "http_client.h"
#include "websocket_client.h"

/* Runs the request; checks output, exit status and a proper close. */
static void expect_exec(struct daemon *daemon, const char *request, const char *out, int exit_code)
{
    struct ws_result result = ws_exec(daemon, "vm", request, false);
    assert_string_equal(result.out, out);
    assert_int_equal(result.exit_code, exit_code);
    assert_int_equal(result.close_code, 1000);
    assert_false(result.order_broken);
    ws_release(&result);
}

static void test_refused_before_upgrade(void **state)
{
    struct daemon *daemon = *state;
    json_decref(http_expect(daemon, "POST", "/instances", "{\"name\":\"init-x\"}", 201));
    http_refused(daemon, "GET", "/instances/none/exec", NULL, 404, "not_found", "none");
    http_refused(daemon, "GET", "/instances/k/exec", NULL, 409, "ambiguous", "several");
    http_refused(daemon, "GET", "/instances/init-x/exec", NULL, 409, "invalid_state",
                 "instance must be running (current state: Initializing)");
    http_refused(daemon, "GET", "/instances/vm/exec", NULL, 400, "Bad Request", "WebSocket");
    static const struct {
        const char *headers;
        int status;
    } cases[] = {
        {"Upgrade: h2c\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\n"
         "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n",
         400},
        {"Upgrade: websocket\r\nConnection: close\r\nSec-WebSocket-Version: 13\r\n"
         "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n",
         400},
        {"Upgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 8\r\n"
         "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n",
         426},
        {"Upgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\n", 400},
        {"Upgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\n"
         "Sec-WebSocket-Key: short\r\n",
         400},
    };
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        int fd = http_open(daemon);
        http_send_text(fd, "GET /instances/vm/exec HTTP/1.1\r\nHost: tined\r\n");
        http_send_text(fd, cases[i].headers);
        http_send_text(fd, "\r\n");
        shutdown(fd, SHUT_WR);
        struct http_reply reply = http_finish(fd);
        assert_int_equal(reply.status, cases[i].status);
        assert_non_null(reply.json);
        http_release(&reply);
    }
}

static void test_output_and_status(void **state)
{
    expect_exec(*state, "{\"command\":[\"echo\",\"hello\",\"world\"],\"tty\":false}",
                "hello world\n", 0);
    expect_exec(*state, "{\"command\":[\"err\",\"oops\"],\"tty\":false}", "oops\n", 0);
    expect_exec(*state, "{\"command\":[\"exit\",\"42\"],\"tty\":false}", "", 42);
    expect_exec(*state, "{\"command\":[\"drip\"]}", "", 5);
    expect_exec(*state, "{\"command\":[\"timeout\"],\"timeout\":1}", "", 124);
    expect_exec(*state, "{\"command\":[\"cwd\"],\"cwd\":\"/srv\"}", "/srv", 0);
    expect_exec(*state, "{\"command\":[\"env\"],\"env\":{\"A\":\"1\",\"B\":\"x=y\"}}",
                "A=1\nB=x=y\n", 0);
    expect_exec(*state, "{\"command\":[\"echo\",\"x\"],\"unknown\":{},\"wait_for_agent\":5}", "x\n",
                0);
}

static void test_failures(void **state)
{
    expect_exec(*state, "{\"command\":[\"missing\"]}",
                "Error: missing: No such file or directory\r\n", 127);
    expect_exec(*state, "{\"command\":[\"unreachable\"]}", "Error: the agent does not answer\r\n",
                127);
    expect_exec(*state, "{\"command\":[\"garble\"]}",
                "Error: the guest's agent broke the protocol\r\n", 127);
    expect_exec(*state, "{\"command\":[\"hangup\"]}",
                "before\nError: the guest's agent closed the connection\r\n", 127);
}

/* An end without an exit code would pass for success: there is always one. */
static void test_bad_requests(void **state)
{
    static const struct {
        const char *request, *part;
    } cases[] = {
        {"nonsense", "JSON"},
        {"[]", "object"},
        {"{\"command\":\"ls\"}", "command: must be an array"},
        {"{\"command\":[1]}", "command: must be an array of strings"},
        {"{\"tty\":1}", "tty"},
        {"{\"env\":{\"A\":1}}", "env.A"},
        {"{\"env\":{\"A=B\":\"1\"}}", "A=B"},
        {"{\"env\":{\"\":\"1\"}}", "variable"},
        {"{\"cwd\":[]}", "cwd"},
        {"{\"timeout\":-1}", "timeout"},
        {"{\"timeout\":\"1s\"}", "timeout"},
        {"{\"rows\":-5}", "rows"},
        {"{\"tine\":{\"streams\":\"yes\"}}", "tine.streams"},
        {"{\"tine\":1}", "tine: must be an object"},
    };
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        struct ws_result result = ws_exec(*state, "vm", cases[i].request, false);
        assert_int_equal(result.exit_code, 127);
        if (!strstr(result.last_text, cases[i].part))
            fail_msg("\"%s\" is not in %s", cases[i].part, result.last_text);
        assert_non_null(strstr(result.last_text, "\"error\""));
        assert_int_equal(result.close_code, 1000);
        ws_release(&result);
    }
    int fd = ws_open(*state, "vm");
    ws_send(fd, WS_FIN | WS_BINARY, "{}", 2);
    struct ws_result result = ws_finish(fd, false);
    assert_int_equal(result.exit_code, 127);
    assert_non_null(strstr(result.last_text, "must be text"));
    ws_release(&result);
}

/* No command, null and [] mean a shell, which is "cat" here; ended by the extension's eof. */
static void test_default_command(void **state)
{
    static const char *const requests[] = {
        "{\"tty\":false,\"tine\":{\"streams\":true}}",
        "{\"command\":null,\"tine\":{\"streams\":true}}",
        "{\"command\":[],\"tine\":{\"streams\":true}}",
    };
    for (size_t i = 0; i < ARRAY_SIZE(requests); i++) {
        int fd = ws_open(*state, "vm");
        ws_text(fd, requests[i]);
        ws_send(fd, WS_FIN | WS_BINARY, "typed", 5);
        ws_text(fd, "{\"eof\":true}");
        struct ws_result result = ws_finish(fd, true);
        assert_string_equal(result.out, "typed");
        assert_int_equal(result.exit_code, 0);
        ws_release(&result);
    }
}

static void test_streams(void **state)
{
    struct ws_result result =
        ws_exec(*state, "vm", "{\"command\":[\"err\",\"oops\"],\"tine\":{\"streams\":true}}", true);
    assert_string_equal(result.out, "");
    assert_string_equal(result.err, "oops\n");
    assert_int_equal(result.exit_code, 0);
    ws_release(&result);
    result = ws_exec(*state, "vm", "{\"command\":[\"missing\"],\"tine\":{\"streams\":true}}", true);
    assert_non_null(strstr(result.err, "Error: missing"));
    assert_int_equal(result.exit_code, 127);
    ws_release(&result);
    result = ws_exec(*state, "vm", "{\"command\":[\"timeout\"],\"tine\":{\"streams\":true}}", true);
    assert_int_equal(result.exit_code, 124);
    assert_non_null(strstr(result.last_text, "\"timed_out\":true"));
    ws_release(&result);
}

/* Without the extension text is input too, and there is no end of it. */
static void test_text_is_input(void **state)
{
    int fd = ws_open(*state, "vm");
    ws_text(fd, "{\"command\":[\"cat\"],\"tty\":false}");
    ws_text(fd, "{\"eof\":true}");
    struct ws_frame frame = ws_receive(fd);
    assert_int_equal(frame.first, WS_FIN | WS_BINARY);
    assert_string_equal(frame.payload, "{\"eof\":true}");
    free(frame.payload);
    close(fd);
}

static void test_signal(void **state)
{
    int fd = ws_open(*state, "vm");
    ws_text(fd, "{\"command\":[\"wait\"],\"tine\":{\"streams\":true}}");
    ws_text(fd, "{\"signal\":0}");
    ws_text(fd, "{\"signal\":65}");
    ws_text(fd, "{\"signal\":\"x\"}");
    ws_text(fd, "not json");
    ws_text(fd, "{\"signal\":15}");
    struct ws_result result = ws_finish(fd, true);
    assert_string_equal(result.out, "waiting\nsignal 15\n");
    assert_int_equal(result.exit_code, 143);
    assert_non_null(strstr(result.last_text, "\"signal\":15"));
    ws_release(&result);
}

static void test_tty(void **state)
{
    int fd = ws_open(*state, "vm");
    ws_text(fd, "{\"command\":[\"tty\"],\"tty\":true,\"rows\":40,\"cols\":120}");
    ws_text(fd, "{\"resize\":{\"rows\":0,\"cols\":9}}");
    ws_text(fd, "{\"resize\":{\"rows\":70000,\"cols\":9}}");
    ws_text(fd, "{\"resize\":{\"rows\":50,\"cols\":132}}");
    struct ws_result result = ws_finish(fd, false);
    assert_string_equal(result.out, "tty 40x120\r\nresize 50x132\r\n");
    assert_int_equal(result.exit_code, 0);
    ws_release(&result);
}

/* A client's buffer is 4096 bytes: a message comes in fragments, with pings between them. */
static void test_fragments(void **state)
{
    char block[32768];
    for (size_t i = 0; i < sizeof(block); i++)
        block[i] = (char)('a' + i % 26);
    int fd = ws_open(*state, "vm");
    ws_send(fd, WS_TEXT, "{\"command\":[\"cat\"],", 19);
    ws_send(fd, WS_FIN | WS_CONTINUATION, "\"tine\":{\"streams\":true}}", 24);
    for (size_t at = 0; at < sizeof(block); at += 4096) {
        bool last = at + 4096 == sizeof(block);
        ws_send(fd, (uint8_t)((last ? WS_FIN : 0) | (at == 0 ? WS_BINARY : WS_CONTINUATION)),
                block + at, 4096);
        if (!last)
            ws_send(fd, WS_FIN | WS_PING, "p", 1);
    }
    ws_text(fd, "{\"eof\":true}");
    struct ws_result result = ws_finish(fd, true);
    assert_int_equal(result.out_length, sizeof(block));
    assert_memory_equal(result.out, block, sizeof(block));
    assert_int_equal(result.pongs, 7);
    assert_int_equal(result.exit_code, 0);
    ws_release(&result);
}

/* The request may come in one write with the handshake. */
static void test_early_request(void **state)
{
    char *handshake = ws_handshake("vm"), *all = NULL;
    static const char request[] = "{\"command\":[\"echo\",\"hi\"]}";
    /* A mask of zeros changes nothing. */
    int length = asprintf(&all, "%s%c%c%c%c%c%c%s", handshake, (int)(WS_FIN | WS_TEXT),
                          (int)(0x80 | (sizeof(request) - 1)), 0, 0, 0, 0, request);
    assert_true(length > 0);
    int fd = http_open(*state);
    http_send(fd, all, (size_t)length);
    char text[512];
    size_t got = 0;
    while (got + 1 < sizeof(text)) {
        ssize_t n = recv(fd, text + got, 1, 0);
        assert_int_equal(n, 1);
        text[++got] = '\0';
        if (strstr(text, "\r\n\r\n"))
            break;
    }
    struct ws_result result = ws_finish(fd, false);
    assert_string_equal(result.out, "hi\n");
    assert_int_equal(result.exit_code, 0);
    ws_release(&result);
    free(all);
    free(handshake);
}

static void test_flood(void **state)
{
    struct ws_result result = ws_exec(*state, "vm", "{\"command\":[\"flood\",\"8192\"]}", false);
    assert_int_equal(result.out_length, 8u << 20);
    assert_int_equal(result.exit_code, 0);
    ws_release(&result);
}

/* A command that does not read at first: what is sent waits, and none of it is lost. */
static void test_slow_stdin(void **state)
{
    _cleanup_(free) char *block = calloc(1, 32768);
    int fd = ws_open(*state, "vm");
    ws_text(fd, "{\"command\":[\"sink\"],\"tine\":{\"streams\":true}}");
    for (int i = 0; i < 128; i++)
        ws_send(fd, WS_FIN | WS_BINARY, block, 32768);
    ws_text(fd, "{\"eof\":true}");
    struct ws_result result = ws_finish(fd, true);
    assert_string_equal(result.out, "4194304\n");
    ws_release(&result);
}

/* Input that nobody reads does not hide the exit status. */
static void test_unread_stdin(void **state)
{
    _cleanup_(free) char *block = calloc(1, 32768);
    for (int round = 0; round < 10; round++) {
        int fd = ws_open(*state, "vm");
        ws_text(fd, "{\"command\":[\"deaf\"],\"tine\":{\"streams\":true}}");
        ws_send(fd, WS_FIN | WS_BINARY, block, 32768);
        struct ws_result result = ws_finish(fd, true);
        assert_string_equal(result.out, "ready\n");
        assert_int_equal(result.exit_code, 3);
        ws_release(&result);
    }
}

static void await_file(const char *directory, const char *name)
{
    char path[256];
    snprintf(path, sizeof(path), "%s/%s", directory, name);
    for (int i = 0; i < 3000 && access(path, F_OK) < 0; i++)
        time_sleep_ms(10);
    assert_int_equal(access(path, F_OK), 0);
    unlink(path);
}

/* However the client goes, its command is ended. */
static void test_client_gone(void **state)
{
    struct daemon *daemon = *state;
    for (int way = 0; way < 4; way++) {
        int fd = ws_open(daemon, "vm");
        ws_text(fd, "{\"command\":[\"wait\"]}");
        struct ws_frame frame = ws_receive(fd);
        assert_string_equal(frame.payload, "waiting\n");
        free(frame.payload);
        if (way == 0)
            ws_send(fd, WS_FIN | WS_CLOSE, "\x03\xe8", 2);
        else if (way == 1)
            shutdown(fd, SHUT_WR);
        else if (way == 2)
            ws_send(fd, 0x70 | WS_BINARY, "x", 1); /* reserved bits: a violation */
        else
            close(fd);
        await_file(daemon->data, "killed");
        if (way < 3)
            close(fd);
    }
}

/* What RFC 6455 forbids ends the connection with its code, and the command with it. */
static void test_violations(void **state)
{
    struct daemon *daemon = *state;
    static const char wait[] = "{\"command\":[\"wait\"]}";
    for (int way = 0; way < 5; way++) {
        static const unsigned codes[] = {1002, 1002, 1007, 1002, 1009};
        _cleanup_(free) char *big = calloc(1, 2u << 20);
        int fd = ws_open(daemon, "vm");
        ws_text(fd, wait);
        struct ws_frame frame = ws_receive(fd);
        free(frame.payload);
        if (way == 0)
            ws_send_unmasked(fd, WS_FIN | WS_BINARY, "x", 1);
        else if (way == 1)
            ws_send(fd, WS_FIN | WS_CONTINUATION, "x", 1);
        else if (way == 2)
            ws_send(fd, WS_FIN | WS_TEXT, "\xff\xfe", 2);
        else if (way == 3)
            ws_send(fd, WS_FIN | 3, "x", 1);
        else
            ws_send(fd, WS_FIN | WS_BINARY, big, 2u << 20);
        struct ws_result result = ws_finish(fd, false);
        assert_int_equal(result.close_code, codes[way]);
        ws_release(&result);
        await_file(daemon->data, "killed");
    }
}

/* Random bytes instead of frames: no crash, and tined goes on. */
static void test_random_bytes(void **state)
{
    unsigned seed = 99;
    for (int round = 0; round < 300; round++) {
        uint8_t bytes[512] = {0};
        int fd = ws_open(*state, "vm");
        if (round % 2)
            ws_text(fd, "{\"command\":[\"cat\"],\"tine\":{\"streams\":true}}");
        size_t length = 1 + (size_t)rand_r(&seed) % sizeof(bytes);
        for (size_t i = 0; i < length; i++)
            bytes[i] = (uint8_t)rand_r(&seed);
        bytes[0] = (uint8_t)(0x80 | bytes[0] % 16);
        bytes[1] |= 0x80;
        http_send(fd, bytes, length);
        close(fd);
    }
    expect_exec(*state, "{\"command\":[\"echo\",\"alive\"]}", "alive\n", 0);
}

/* Many sessions at once, each with its own output. */
static void test_many_sessions(void **state)
{
    int fds[40];
    for (unsigned i = 0; i < ARRAY_SIZE(fds); i++) {
        char request[64];
        fds[i] = ws_open(*state, "vm");
        snprintf(request, sizeof(request), "{\"command\":[\"echo\",\"%u\"]}", i);
        ws_text(fds[i], request);
    }
    for (unsigned i = 0; i < ARRAY_SIZE(fds); i++) {
        char wanted[16];
        snprintf(wanted, sizeof(wanted), "%u\n", i);
        struct ws_result result = ws_finish(fds[i], false);
        assert_string_equal(result.out, wanted);
        ws_release(&result);
    }
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, daemon_setup_vm, daemon_teardown)

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        TEST(test_refused_before_upgrade),
        TEST(test_output_and_status),
        TEST(test_failures),
        TEST(test_bad_requests),
        TEST(test_default_command),
        TEST(test_streams),
        TEST(test_text_is_input),
        TEST(test_signal),
        TEST(test_tty),
        TEST(test_fragments),
        TEST(test_early_request),
        TEST(test_flood),
        TEST(test_slow_stdin),
        TEST(test_unread_stdin),
        TEST(test_client_gone),
        TEST(test_violations),
        TEST(test_random_bytes),
        TEST(test_many_sessions),
    };
    if (argc != 2)
        return 2;
    daemon_program_set(argv[1]);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
