/* SPDX-License-Identifier: Apache-2.0 */
/* GET /instances/{id}/cp out of a guest: a real agent's files, and what hostile guests send. */
#include <fcntl.h>
#include <poll.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/cleanup.h"
#include "cp_calls.h"
#include "daemon_fixture.h"
#include "files.h"
#include "http_client.h"
#include "websocket_client.h"

/* What came, a line per message: the header's JSON with the file's name only, "= TEXT" for content,
 * "." and "!" for an end and the last, "error: TEXT". */
struct transcript {
    char text[8192];
    uint64_t bytes;
    unsigned close_code;
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
    else if (strcmp(type, "end") == 0)
        note(transcript, json_is_true(json_object_get(json, "final")) ? "!\n" : ".\n");
    else
        note(transcript, "%s: %s\n", type, text_of(json, "message"));
    json_int_t skipped =
        json_integer_value(json_object_get(json_object_get(json, "tine"), "skipped"));
    if (skipped > 0)
        note(transcript, "skipped %lld\n", (long long)skipped);
    json_decref(json);
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
    return &transcript;
}

static void test_from_file(void **state)
{
    const struct daemon *daemon = *state;
    write_file(path_in(daemon->dir, "f"), "hello", 0640);
    assert_int_equal(symlink("f", path_in(daemon->dir, "l")), 0);
    assert_string_equal(cp_from(daemon, path_in(daemon->dir, "f"), "")->text,
                        "f 416 5\n= hello\n!\n");
    assert_string_equal(cp_from(daemon, path_in(daemon->dir, "l"), "")->text, "l 511 > f 0\n!\n");
    assert_string_equal(cp_from(daemon, path_in(daemon->dir, "l"), ",\"follow_links\":true")->text,
                        "l 416 5\n= hello\n!\n");
    write_file(path_in(daemon->dir, "f"), "", 0640);
    assert_string_equal(cp_from(daemon, path_in(daemon->dir, "f"), "")->text, "f 416 0\n!\n");
}

static void test_from_tree(void **state)
{
    const struct daemon *daemon = *state;
    assert_int_equal(mkdir(path_in(daemon->dir, "t"), 0755), 0);
    assert_int_equal(mkdir(path_in(daemon->dir, "t/sub"), 0700), 0);
    write_file(path_in(daemon->dir, "t/sub/b"), "in sub", 0640);
    write_file(path_in(daemon->dir, "t/a"), "x", 0640);
    assert_int_equal(symlink("/etc", path_in(daemon->dir, "t/z")), 0);
    assert_int_equal(mkfifo(path_in(daemon->dir, "t/pipe"), 0600), 0);
    assert_string_equal(cp_from(daemon, path_in(daemon->dir, "t"), "")->text,
                        "t 493 dir 0\n.\n"
                        "t/a 416 1\n= x\n.\n"
                        "t/sub 448 dir 0\n.\n"
                        "t/sub/b 416 6\n= in sub\n.\n"
                        "t/z 511 > /etc 0\n!\nskipped 1\n");
}

static void test_from_much(void **state)
{
    const struct daemon *daemon = *state;
    int file = open(path_in(daemon->dir, "much"), O_WRONLY | O_CREAT | O_CLOEXEC, 0640);
    assert_int_equal(ftruncate(file, 32 << 20), 0);
    close(file);
    const struct transcript *transcript = cp_from(daemon, path_in(daemon->dir, "much"), "");
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

#define TEST(name) cmocka_unit_test_setup_teardown(name, daemon_setup_vm, daemon_teardown)

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        TEST(test_from_file),    TEST(test_from_tree),      TEST(test_from_much),
        TEST(test_from_hostile), TEST(test_from_abandoned),
    };
    if (argc != 2)
        return 2;
    daemon_program_set(argv[1]);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
