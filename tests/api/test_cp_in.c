/* SPDX-License-Identifier: Apache-2.0 */
/* GET /instances/{id}/cp into a guest, a real agent's, and clients that go in its middle. */
#include <poll.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/cleanup.h"
#include "cp_calls.h"
#include "daemon_fixture.h"
#include "files.h"
#include "http_client.h"
#include "websocket_client.h"

static void expect_written(int fd, json_int_t bytes)
{
    json_t *result = cp_result(fd);
    if (!json_is_true(json_object_get(result, "success")))
        fail_msg("%s", text_of(result, "error"));
    assert_true((bytes == 0) == (json_object_get(result, "bytes_written") == NULL));
    assert_int_equal(json_integer_value(json_object_get(result, "bytes_written")), bytes);
    json_decref(result);
}

static void say_end(int fd)
{
    ws_text(fd, "{\"type\":\"end\"}");
}

static void test_to_file(void **state)
{
    const struct daemon *daemon = *state;
    struct stat st;
    int fd = cp_open(daemon, "{\"direction\":\"to\",\"guest_path\":\"%s\",\"mode\":493}",
                     path_in(daemon->dir, "a/b/f"));
    ws_send(fd, WS_BINARY, "hel", 3); /* in fragments, as clients send it */
    ws_send(fd, WS_FIN | WS_PING, "p", 1);
    ws_send(fd, WS_FIN | WS_CONTINUATION, "lo", 2);
    ws_send(fd, WS_FIN | WS_BINARY, " you", 4);
    struct ws_frame pong = ws_receive(fd);
    assert_int_equal(pong.first, WS_FIN | WS_PONG);
    free(pong.payload);
    say_end(fd);
    expect_written(fd, 9);
    assert_content(path_in(daemon->dir, "a/b/f"), "hello you");
    assert_int_equal(stat(path_in(daemon->dir, "a/b/f"), &st), 0);
    assert_int_equal(st.st_mode, S_IFREG | 0755);
    /* Without a mode, and without content. */
    fd = cp_open(daemon, "{\"direction\":\"to\",\"guest_path\":\"%s\",\"is_dir\":false,\"uid\":0}",
                 path_in(daemon->dir, "a/b/f"));
    say_end(fd);
    expect_written(fd, 0);
    assert_content(path_in(daemon->dir, "a/b/f"), "");
    assert_int_equal(stat(path_in(daemon->dir, "a/b/f"), &st), 0);
    assert_int_equal(st.st_mode, S_IFREG | 0644);
}

static void test_to_directory(void **state)
{
    const struct daemon *daemon = *state;
    struct stat st;
    for (int round = 0; round < 2; round++) {
        int fd = cp_open(daemon, "{\"direction\":\"to\",\"guest_path\":\"%s\",\"is_dir\":true}",
                         path_in(daemon->dir, "x/y"));
        say_end(fd);
        expect_written(fd, 0);
        assert_int_equal(stat(path_in(daemon->dir, "x/y"), &st), 0);
        assert_int_equal(st.st_mode, S_IFDIR | 0755);
    }
    int fd = cp_open(
        daemon, "{\"direction\":\"to\",\"guest_path\":\"%s\",\"tine\":{\"link_target\":\"y\"}}",
        path_in(daemon->dir, "x/l"));
    say_end(fd);
    expect_written(fd, 0);
    assert_int_equal(lstat(path_in(daemon->dir, "x/l"), &st), 0);
    assert_true(S_ISLNK(st.st_mode));
}

/* More than every queue on the way holds. */
static void test_to_much(void **state)
{
    const struct daemon *daemon = *state;
    struct stat st;
    _cleanup_(free) char *block = calloc(1, 65536);
    int fd = cp_open(daemon, "{\"direction\":\"to\",\"guest_path\":\"%s\"}",
                     path_in(daemon->dir, "much"));
    for (int i = 0; i < 512; i++)
        ws_send(fd, WS_FIN | WS_BINARY, block, 65536);
    say_end(fd);
    expect_written(fd, 32 << 20);
    assert_int_equal(stat(path_in(daemon->dir, "much"), &st), 0);
    assert_true(st.st_size == 32 << 20);
}

/* What fails early is told when the client has said all: it does not read before. */
static void test_to_refused(void **state)
{
    const struct daemon *daemon = *state;
    _cleanup_(free) char *block = calloc(1, 65536);
    write_file(path_in(daemon->dir, "f"), "kept", 0640);
    const struct {
        const char *path, *more, *part;
    } cases[] = {
        {daemon->dir, "", "is there already"},
        {path_in(daemon->dir, "f/x"), "", "Not a directory"},
        {path_in(daemon->dir, "f"), ",\"is_dir\":true", "content"},
        {path_in(daemon->dir, "f"), ",\"mode\":\"x\"", "mode"},
        {path_in(daemon->dir, "f"), ",\"is_dir\":true,\"tine\":{\"link_target\":\"x\"}", "exclude"},
        {path_in(daemon->dir, "f"), ",\"tine\":{\"link_target\":\"\"}", "empty"},
        {"relative", "", "absolute"},
        {"/hostile/old", "", "may be older than tined"},
        {"/hostile/garble", "", "broke the protocol"},
        {"/hostile/hangup", "", "closed the connection"},
        {"/hostile/early", "", "broke the protocol"},
        {"/hostile/link", "", "broke the protocol"},
    };
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        int fd = cp_open(daemon, "{\"direction\":\"to\",\"guest_path\":\"%s\"%s}", cases[i].path,
                         cases[i].more);
        for (int n = 0; n < 32; n++)
            ws_send(fd, WS_FIN | WS_BINARY, block, 65536);
        say_end(fd);
        expect_unwritten(fd, cases[i].part);
    }
    assert_content(path_in(daemon->dir, "f"), "kept");
}

/* A guest that takes nothing holds up the client, not tined's memory. */
static void test_to_deaf(void **state)
{
    const struct daemon *daemon = *state;
    static char block[65536];
    size_t sent = 0;
    int fd = cp_open(daemon, "{\"direction\":\"to\",\"guest_path\":\"/hostile/deaf\"}");
    /* Frames of 64 KiB with a mask of zeros, until nothing has moved for a while. */
    static const uint8_t header[14] = {WS_FIN | WS_BINARY, 0x80 | 127, 0, 0, 0, 0, 0, 1};
    struct pollfd pollfd = {.fd = fd, .events = POLLOUT};
    for (size_t at = 0; sent < 64 << 20 && poll(&pollfd, 1, 500) > 0;) {
        bool in_header = at < sizeof(header);
        const void *from = in_header ? (const void *)(header + at) : block + at - sizeof(header);
        size_t length = (in_header ? sizeof(header) : sizeof(header) + sizeof(block)) - at;
        ssize_t n = send(fd, from, length, MSG_DONTWAIT | MSG_NOSIGNAL);
        if (n > 0) {
            sent += (size_t)n;
            at = (at + (size_t)n) % (sizeof(header) + sizeof(block));
        }
    }
    assert_true(sent > 0);
    assert_true(sent < 8 << 20);
    close(fd);
}

/* However the client goes before its end, what was there stays. */
static void test_to_cut(void **state)
{
    const struct daemon *daemon = *state;
    assert_int_equal(mkdir(path_in(daemon->dir, "d"), 0755), 0);
    write_file(path_in(daemon->dir, "d/f"), "old", 0640);
    for (int way = 0; way < 3; way++) {
        int fd = cp_open(daemon, "{\"direction\":\"to\",\"guest_path\":\"%s\"}",
                         path_in(daemon->dir, "d/f"));
        ws_send(fd, WS_FIN | WS_BINARY, "half", 4);
        if (way == 0)
            ws_send(fd, WS_FIN | WS_CLOSE, "\x03\xe8", 2);
        else if (way == 1)
            ws_send(fd, 0x70 | WS_BINARY, "x", 1); /* a violation */
        close(fd);
        await_alone(path_in(daemon->dir, "d"), "f");
        assert_content(path_in(daemon->dir, "d/f"), "old");
    }
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, daemon_setup_vm, daemon_teardown)

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        TEST(test_to_file),    TEST(test_to_directory), TEST(test_to_much),
        TEST(test_to_refused), TEST(test_to_cut),       TEST(test_to_deaf),
    };
    if (argc != 2)
        return 2;
    daemon_program_set(argv[1]);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
