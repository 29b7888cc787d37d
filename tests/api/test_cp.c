/* SPDX-License-Identifier: Apache-2.0 */
/* GET /instances/{id}/stat and /instances/{id}/cp: a real agent's files, and what hostile guests
 * and clients try. */
#include <fcntl.h>
#include <poll.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/cleanup.h"
#include "base/clock.h"
#include "base/file.h"
#include "http_client.h"
#include "websocket_client.h"

static const char *double_path;

static int setup(void **state)
{
    static struct daemon daemon;
    daemon_start(&daemon, double_path, NULL);
    json_decref(http_expect(&daemon, "POST", "/instances", "{\"name\":\"vm\"}", 201));
    *state = &daemon;
    return 0;
}

static int teardown(void **state)
{
    daemon_stop(*state);
    return 0;
}

/* A path in the daemon's directory, which is the guest's as well; static buffers in turn. */
static const char *at(const struct daemon *daemon, const char *name)
{
    static char paths[16][256];
    static unsigned next;
    char *path = paths[next++ % 16];
    snprintf(path, sizeof(paths[0]), "%s/%s", daemon->dir, name);
    return path;
}

static void write_file(const char *path, const char *text)
{
    FILE *file = fopen(path, "we");
    assert_non_null(file);
    fputs(text, file);
    fclose(file);
    assert_int_equal(chmod(path, 0640), 0);
}

static void assert_content(const char *path, const char *text)
{
    char *content = NULL;
    size_t length;
    assert_int_equal(file_read_all(AT_FDCWD, path, 1 << 20, &content, &length, NULL), 0);
    assert_string_equal(content, text);
    free(content);
}

/* --- stat ------------------------------------------------------------------------------------ */

static json_t *stat_of(const struct daemon *daemon, const char *path, const char *more)
{
    char target[512];
    snprintf(target, sizeof(target), "/instances/vm/stat?path=%s%s", path, more);
    return http_expect(daemon, "GET", target, NULL, 200);
}

static void test_stat(void **state)
{
    const struct daemon *daemon = *state;
    write_file(at(daemon, "f"), "12345");
    assert_int_equal(symlink("f", at(daemon, "l")), 0);
    const struct {
        const char *path, *more;
        const char *wanted;
    } cases[] = {
        {at(daemon, "f"), "",
         "{\"exists\":true,\"is_dir\":false,\"is_file\":true,\"is_symlink\":false,\"link_target\":"
         "null,\"mode\":416,\"size\":5,\"error\":null}"},
        {at(daemon, "l"), "&follow_links=false",
         "{\"exists\":true,\"is_dir\":false,\"is_file\":false,\"is_symlink\":true,\"link_target\":"
         "\"f\",\"mode\":511,\"size\":0,\"error\":null}"},
        {at(daemon, "l"), "&follow_links=true",
         "{\"exists\":true,\"is_dir\":false,\"is_file\":true,\"is_symlink\":false,\"link_target\":"
         "null,\"mode\":416,\"size\":5,\"error\":null}"},
        {at(daemon, "none"), "",
         "{\"exists\":false,\"is_dir\":false,\"is_file\":false,\"is_symlink\":false,"
         "\"link_target\":null,\"mode\":0,\"size\":0,\"error\":null}"},
        {at(daemon, "f/x"), "",
         "{\"exists\":false,\"is_dir\":false,\"is_file\":false,\"is_symlink\":false,"
         "\"link_target\":null,\"mode\":0,\"size\":0,\"error\":null}"},
    };
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        json_t *info = stat_of(daemon, cases[i].path, cases[i].more);
        json_t *wanted = json_loads(cases[i].wanted, 0, NULL);
        if (!json_equal(info, wanted))
            fail_msg("%s: %s", cases[i].path, json_dumps(info, 0));
        json_decref(wanted);
        json_decref(info);
    }
}

/* Another failure than "not there" is told, and is no success. */
static void test_stat_error(void **state)
{
    const struct daemon *daemon = *state;
    assert_int_equal(symlink("loop", at(daemon, "loop")), 0);
    json_t *info = stat_of(daemon, at(daemon, "loop/x"), "");
    assert_false(json_is_true(json_object_get(info, "exists")));
    assert_non_null(strstr(text_of(info, "error"), "symbolic links"));
    json_decref(info);
}

static void test_stat_refused(void **state)
{
    const struct daemon *daemon = *state;
    http_refused(daemon, "GET", "/instances/none/stat?path=/", NULL, 404, "not_found", "none");
    http_refused(daemon, "GET", "/instances/vm/stat", NULL, 400, "Bad Request", "path");
    http_refused(daemon, "GET", "/instances/vm/stat?path=x", NULL, 400, "Bad Request", "absolute");
    http_refused(daemon, "GET", "/instances/vm/stat?path=/&follow_links=1", NULL, 400,
                 "Bad Request", "follow_links");
    http_refused(daemon, "GET", "/instances/vm/stat?path=/hostile/old", NULL, 501, "not_supported",
                 "may be older than tined");
    http_refused(daemon, "GET", "/instances/vm/stat?path=/hostile/garble", NULL, 500,
                 "internal_error", "agent");
    json_decref(http_expect(daemon, "POST", "/instances/vm/standby", NULL, 200));
    http_refused(daemon, "GET", "/instances/vm/stat?path=/", NULL, 409, "invalid_state", "Standby");
}

/* --- into the guest -------------------------------------------------------------------------- */

static int cp_open(const struct daemon *daemon, const char *format, ...)
    __attribute__((format(printf, 2, 3)));
static int cp_open(const struct daemon *daemon, const char *format, ...)
{
    char request[1024];
    va_list args;
    va_start(args, format);
    vsnprintf(request, sizeof(request), format, args);
    va_end(args);
    int fd = ws_open_route(daemon, "vm", "cp");
    ws_text(fd, request);
    return fd;
}

/* The one text that answers a copy into the guest, and a proper close behind it. */
static json_t *cp_result(int fd)
{
    struct ws_frame frame = ws_receive(fd);
    assert_int_equal(frame.first, WS_FIN | WS_TEXT);
    json_t *result = json_loads(frame.payload, 0, NULL);
    assert_string_equal(text_of(result, "type"), "result");
    free(frame.payload);
    frame = ws_receive(fd);
    assert_int_equal(frame.first, WS_FIN | WS_CLOSE);
    assert_memory_equal(frame.payload, "\x03\xe8", 2);
    free(frame.payload);
    close(fd);
    return result;
}

static void expect_written(int fd, json_int_t bytes)
{
    json_t *result = cp_result(fd);
    if (!json_is_true(json_object_get(result, "success")))
        fail_msg("%s", text_of(result, "error"));
    assert_true((bytes == 0) == (json_object_get(result, "bytes_written") == NULL));
    assert_int_equal(json_integer_value(json_object_get(result, "bytes_written")), bytes);
    json_decref(result);
}

static void expect_unwritten(int fd, const char *part)
{
    json_t *result = cp_result(fd);
    assert_true(json_is_false(json_object_get(result, "success")));
    if (!strstr(text_of(result, "error"), part))
        fail_msg("\"%s\" is not in \"%s\"", part, text_of(result, "error"));
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
                     at(daemon, "a/b/f"));
    ws_send(fd, WS_BINARY, "hel", 3); /* in fragments, as clients send it */
    ws_send(fd, WS_FIN | WS_PING, "p", 1);
    ws_send(fd, WS_FIN | WS_CONTINUATION, "lo", 2);
    ws_send(fd, WS_FIN | WS_BINARY, " you", 4);
    struct ws_frame pong = ws_receive(fd);
    assert_int_equal(pong.first, WS_FIN | WS_PONG);
    free(pong.payload);
    say_end(fd);
    expect_written(fd, 9);
    assert_content(at(daemon, "a/b/f"), "hello you");
    assert_int_equal(stat(at(daemon, "a/b/f"), &st), 0);
    assert_int_equal(st.st_mode, S_IFREG | 0755);
    /* Without a mode, and without content. */
    fd = cp_open(daemon, "{\"direction\":\"to\",\"guest_path\":\"%s\",\"is_dir\":false,\"uid\":0}",
                 at(daemon, "a/b/f"));
    say_end(fd);
    expect_written(fd, 0);
    assert_content(at(daemon, "a/b/f"), "");
    assert_int_equal(stat(at(daemon, "a/b/f"), &st), 0);
    assert_int_equal(st.st_mode, S_IFREG | 0644);
}

static void test_to_directory(void **state)
{
    const struct daemon *daemon = *state;
    struct stat st;
    for (int round = 0; round < 2; round++) {
        int fd = cp_open(daemon, "{\"direction\":\"to\",\"guest_path\":\"%s\",\"is_dir\":true}",
                         at(daemon, "x/y"));
        say_end(fd);
        expect_written(fd, 0);
        assert_int_equal(stat(at(daemon, "x/y"), &st), 0);
        assert_int_equal(st.st_mode, S_IFDIR | 0755);
    }
    int fd = cp_open(
        daemon, "{\"direction\":\"to\",\"guest_path\":\"%s\",\"tine\":{\"link_target\":\"y\"}}",
        at(daemon, "x/l"));
    say_end(fd);
    expect_written(fd, 0);
    assert_int_equal(lstat(at(daemon, "x/l"), &st), 0);
    assert_true(S_ISLNK(st.st_mode));
}

/* More than every queue on the way holds. */
static void test_to_much(void **state)
{
    const struct daemon *daemon = *state;
    struct stat st;
    _cleanup_(free) char *block = calloc(1, 65536);
    int fd = cp_open(daemon, "{\"direction\":\"to\",\"guest_path\":\"%s\"}", at(daemon, "much"));
    for (int i = 0; i < 512; i++)
        ws_send(fd, WS_FIN | WS_BINARY, block, 65536);
    say_end(fd);
    expect_written(fd, 32 << 20);
    assert_int_equal(stat(at(daemon, "much"), &st), 0);
    assert_true(st.st_size == 32 << 20);
}

/* What fails early is told when the client has said all: it does not read before. */
static void test_to_refused(void **state)
{
    const struct daemon *daemon = *state;
    _cleanup_(free) char *block = calloc(1, 65536);
    write_file(at(daemon, "f"), "kept");
    const struct {
        const char *path, *more, *part;
    } cases[] = {
        {daemon->dir, "", "is there already"},
        {at(daemon, "f/x"), "", "Not a directory"},
        {at(daemon, "f"), ",\"is_dir\":true", "content"},
        {at(daemon, "f"), ",\"mode\":\"x\"", "mode"},
        {at(daemon, "f"), ",\"is_dir\":true,\"tine\":{\"link_target\":\"x\"}", "exclude"},
        {at(daemon, "f"), ",\"tine\":{\"link_target\":\"\"}", "empty"},
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
    assert_content(at(daemon, "f"), "kept");
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

static void await_only(const char *directory, const char *name)
{
    char command[512];
    snprintf(command, sizeof(command),
             "for i in $(seq 1000); do [ \"$(ls -A %s)\" = \"%s\" ] && exit 0; sleep 0.01; done; "
             "ls -A %s; exit 1",
             directory, name, directory);
    assert_int_equal(system(command), 0);
}

/* However the client goes before its end, what was there stays. */
static void test_to_cut(void **state)
{
    const struct daemon *daemon = *state;
    assert_int_equal(mkdir(at(daemon, "d"), 0755), 0);
    write_file(at(daemon, "d/f"), "old");
    for (int way = 0; way < 3; way++) {
        int fd = cp_open(daemon, "{\"direction\":\"to\",\"guest_path\":\"%s\"}", at(daemon, "d/f"));
        ws_send(fd, WS_FIN | WS_BINARY, "half", 4);
        if (way == 0)
            ws_send(fd, WS_FIN | WS_CLOSE, "\x03\xe8", 2);
        else if (way == 1)
            ws_send(fd, 0x70 | WS_BINARY, "x", 1); /* a violation */
        close(fd);
        await_only(at(daemon, "d"), "f");
        assert_content(at(daemon, "d/f"), "old");
    }
}

/* --- out of the guest ------------------------------------------------------------------------ */

/* What came, a line per message: the header's JSON with the file's name only, "= TEXT" for content,
 * "." and "!" for an end and the last, "error: TEXT". */
struct transcript {
    char text[8192];
    uint64_t bytes;
    unsigned close_code;
    bool final, served; /* the last end came; the connection was still served then */
};

static void note(struct transcript *transcript, const char *format, ...)
    __attribute__((format(printf, 2, 3)));
static void note(struct transcript *transcript, const char *format, ...)
{
    size_t used = strlen(transcript->text);
    va_list args;
    va_start(args, format);
    vsnprintf(transcript->text + used, sizeof(transcript->text) - used, format, args);
    va_end(args);
}

static void note_header(struct transcript *transcript, json_t *header)
{
    note(transcript, "%s %lld", text_of(header, "path"),
         (long long)json_integer_value(json_object_get(header, "mode")));
    assert_true(json_integer_value(json_object_get(header, "mtime")) > 1000000000);
    if (json_is_true(json_object_get(header, "is_dir")))
        note(transcript, " dir");
    else if (json_is_true(json_object_get(header, "is_symlink")))
        note(transcript, " > %s", text_of(header, "link_target"));
    else
        assert_null(json_object_get(header, "is_symlink"));
    note(transcript, " %lld\n", (long long)json_integer_value(json_object_get(header, "size")));
}

static void note_text(struct transcript *transcript, const char *text)
{
    json_t *json = json_loads(text, 0, NULL);
    const char *type = text_of(json, "type");
    if (strcmp(type, "header") == 0)
        note_header(transcript, json);
    else if (strcmp(type, "end") == 0) {
        transcript->final = json_is_true(json_object_get(json, "final"));
        note(transcript, transcript->final ? "!\n" : ".\n");
    } else
        note(transcript, "%s: %s\n", type, text_of(json, "message"));
    json_int_t skipped =
        json_integer_value(json_object_get(json_object_get(json, "tine"), "skipped"));
    if (skipped > 0)
        note(transcript, "skipped %lld\n", (long long)skipped);
    json_decref(json);
}

/* After the last end it is the client that closes; tined goes on serving until it does. */
static void part(int fd, struct transcript *transcript, const struct ws_frame *frame)
{
    if (frame->first == (WS_FIN | WS_TEXT) && transcript->final)
        ws_send(fd, WS_FIN | WS_PING, "still there?", 12);
    if (frame->first == (WS_FIN | WS_PONG)) {
        transcript->served = transcript->final;
        ws_send(fd, WS_FIN | WS_CLOSE, "\x03\xe8", 2);
    }
}

static const struct transcript *cp_from(const struct daemon *daemon, const char *path,
                                        const char *more)
{
    static struct transcript transcript;
    memset(&transcript, 0, sizeof(transcript));
    int fd = cp_open(daemon, "{\"direction\":\"from\",\"guest_path\":\"%s\"%s}", path, more);
    for (bool over = false; !over;) {
        struct ws_frame frame = ws_receive(fd);
        if (frame.first == (WS_FIN | WS_TEXT))
            note_text(&transcript, frame.payload);
        part(fd, &transcript, &frame);
        if (frame.first == (WS_FIN | WS_BINARY)) {
            if (transcript.bytes + frame.length < 64)
                note(&transcript, "= %s\n", frame.payload);
            transcript.bytes += frame.length;
        }
        if (frame.first == (WS_FIN | WS_CLOSE))
            transcript.close_code =
                (unsigned)((uint8_t)frame.payload[0] << 8 | (uint8_t)frame.payload[1]);
        over = frame.first == 0;
        free(frame.payload);
    }
    close(fd);
    assert_int_equal(transcript.close_code, 1000);
    assert_int_equal(transcript.served, transcript.final);
    return &transcript;
}

/* A client that waits for tined to close is not kept waiting for ever. */
static void test_from_unclosed(void **state)
{
    const struct daemon *daemon = *state;
    write_file(at(daemon, "f"), "");
    int fd = cp_open(daemon, "{\"direction\":\"from\",\"guest_path\":\"%s\"}", at(daemon, "f"));
    struct ws_frame frame = ws_receive(fd);
    for (; frame.first == (WS_FIN | WS_TEXT); frame = ws_receive(fd))
        free(frame.payload);
    assert_int_equal(frame.first, WS_FIN | WS_CLOSE);
    free(frame.payload);
    close(fd);
}

static void test_from_file(void **state)
{
    const struct daemon *daemon = *state;
    write_file(at(daemon, "f"), "hello");
    assert_int_equal(symlink("f", at(daemon, "l")), 0);
    assert_string_equal(cp_from(daemon, at(daemon, "f"), "")->text, "f 416 5\n= hello\n!\n");
    assert_string_equal(cp_from(daemon, at(daemon, "l"), "")->text, "l 511 > f 0\n!\n");
    assert_string_equal(cp_from(daemon, at(daemon, "l"), ",\"follow_links\":true")->text,
                        "l 416 5\n= hello\n!\n");
    write_file(at(daemon, "f"), "");
    assert_string_equal(cp_from(daemon, at(daemon, "f"), "")->text, "f 416 0\n!\n");
}

static void test_from_tree(void **state)
{
    const struct daemon *daemon = *state;
    assert_int_equal(mkdir(at(daemon, "t"), 0755), 0);
    assert_int_equal(mkdir(at(daemon, "t/sub"), 0700), 0);
    write_file(at(daemon, "t/sub/b"), "in sub");
    write_file(at(daemon, "t/a"), "x");
    assert_int_equal(symlink("/etc", at(daemon, "t/z")), 0);
    assert_int_equal(mkfifo(at(daemon, "t/pipe"), 0600), 0);
    assert_string_equal(cp_from(daemon, at(daemon, "t"), "")->text,
                        "t 493 dir 0\n.\n"
                        "t/a 416 1\n= x\n.\n"
                        "t/sub 448 dir 0\n.\n"
                        "t/sub/b 416 6\n= in sub\n.\n"
                        "t/z 511 > /etc 0\n!\nskipped 1\n");
}

static void test_from_much(void **state)
{
    const struct daemon *daemon = *state;
    int file = open(at(daemon, "much"), O_WRONLY | O_CREAT | O_CLOEXEC, 0640);
    assert_int_equal(ftruncate(file, 32 << 20), 0);
    close(file);
    const struct transcript *transcript = cp_from(daemon, at(daemon, "much"), "");
    assert_string_equal(transcript->text, "much 416 33554432\n!\n");
    assert_true(transcript->bytes == 32 << 20);
}

/* Nothing that a guest says leads a client out of its tree or past an announced size. */
static void test_from_hostile(void **state)
{
    static const struct {
        const char *path, *end, *absent;
    } cases[] = {
        {"/hostile/dots", "error: the guest's agent broke the protocol\n", "evil"},
        {"/hostile/absolute", "error: the guest's agent broke the protocol\n", "evil"},
        {"/hostile/stray", "error: the guest's agent broke the protocol\n", "evil"},
        {"/hostile/latin", "error: caf\xef\xbf\xbd: a name that is not UTF-8", "evil"},
        {"/hostile/long", "error: the guest's agent broke the protocol\n", "more"},
        {"/hostile/short", "error: the guest's agent broke the protocol\n", "!"},
        {"/hostile/cut", "error: the guest's agent closed the connection\n", "!"},
        {"/hostile/unended", "error: the guest's agent broke the protocol\n", "!"},
        {"/hostile/garble", "error: the guest's agent broke the protocol\n", "!"},
        {"/hostile/hangup", "error: the guest's agent closed the connection\n", "!"},
        {"/hostile/early", "error: the guest's agent broke the protocol\n", "!"},
        {"/hostile/old", "error: the guest's agent, which may be older than tined", "!"},
        {"/no/such", "error: the agent says: /no/such: No such file", "!"},
        {"/dev/null", "error: the agent says: /dev/null is a device, pipe or socket", "!"},
        {"/proc/../dev/zero",
         "error: the agent says: /proc/../dev/zero is a device, pipe or socket", "!"},
    };
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        const char *text = cp_from(*state, cases[i].path, "")->text;
        if (!strstr(text, cases[i].end) || strstr(text, cases[i].absent))
            fail_msg("%s: %s", cases[i].path, text);
    }
}

/* A client that goes ends even an endless file. */
static void test_from_abandoned(void **state)
{
    const struct daemon *daemon = *state;
    int fd = cp_open(daemon, "{\"direction\":\"from\",\"guest_path\":\"/hostile/endless\"}");
    for (int i = 0; i < 20; i++)
        free(ws_receive(fd).payload);
    close(fd);
}

/* --- both ------------------------------------------------------------------------------------ */

static void test_bad_requests(void **state)
{
    static const struct {
        const char *request, *part;
    } cases[] = {
        {"nonsense", "JSON"},
        {"{\"guest_path\":\"/x\"}", "direction"},
        {"{\"direction\":\"sideways\",\"guest_path\":\"/x\"}", "direction"},
        {"{\"direction\":\"from\"}", "guest_path"},
        {"{\"direction\":\"from\",\"guest_path\":\"x\"}", "absolute"},
        {"{\"direction\":\"from\",\"guest_path\":\"/x\",\"follow_links\":1}", "follow_links"},
    };
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        int fd = cp_open(*state, "%s", cases[i].request);
        struct ws_frame frame = ws_receive(fd);
        json_t *error = json_loads(frame.payload, 0, NULL);
        assert_string_equal(text_of(error, "type"), "error");
        if (!strstr(text_of(error, "message"), cases[i].part))
            fail_msg("%s: %s", cases[i].request, frame.payload);
        json_decref(error);
        free(frame.payload);
        close(fd);
    }
}

static void test_refused_before_upgrade(void **state)
{
    const struct daemon *daemon = *state;
    json_decref(http_expect(daemon, "POST", "/instances", "{\"name\":\"init-x\"}", 201));
    http_refused(daemon, "GET", "/instances/none/cp", NULL, 404, "not_found", "none");
    http_refused(daemon, "GET", "/instances/k/cp", NULL, 409, "ambiguous", "several");
    http_refused(daemon, "GET", "/instances/init-x/cp", NULL, 409, "invalid_state",
                 "instance must be running (current state: Initializing)");
    http_refused(daemon, "GET", "/instances/vm/cp", NULL, 400, "Bad Request", "WebSocket");
}

/* tined ends while copies are under way: both are told, and nothing hangs. */
static void test_stopping(void **state)
{
    struct daemon *daemon = *state;
    int to = cp_open(daemon, "{\"direction\":\"to\",\"guest_path\":\"%s\"}", at(daemon, "f"));
    int from = cp_open(daemon, "{\"direction\":\"from\",\"guest_path\":\"/hostile/endless\"}");
    ws_send(to, WS_FIN | WS_BINARY, "half", 4);
    free(ws_receive(from).payload);
    kill(daemon->pid, SIGTERM);
    bool told = false;
    for (struct ws_frame frame = ws_receive(from); frame.first != 0; frame = ws_receive(from)) {
        told = told || (frame.first == (WS_FIN | WS_TEXT) && strstr(frame.payload, "is stopping"));
        free(frame.payload);
    }
    assert_true(told);
    expect_unwritten(to, "tined is stopping");
    assert_int_equal(daemon_reap(daemon), 0);
    close(from);
    assert_int_equal(access(at(daemon, "f"), F_OK), -1);
    daemon_spawn(daemon, double_path, NULL);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        TEST(test_stat),
        TEST(test_stat_error),
        TEST(test_stat_refused),
        TEST(test_to_file),
        TEST(test_to_directory),
        TEST(test_to_much),
        TEST(test_to_refused),
        TEST(test_to_cut),
        TEST(test_to_deaf),
        TEST(test_from_file),
        TEST(test_from_unclosed),
        TEST(test_from_tree),
        TEST(test_from_much),
        TEST(test_from_hostile),
        TEST(test_from_abandoned),
        TEST(test_bad_requests),
        TEST(test_refused_before_upgrade),
        TEST(test_stopping),
    };
    if (argc != 2)
        return 2;
    double_path = argv[1];
    return cmocka_run_group_tests(tests, NULL, NULL);
}
