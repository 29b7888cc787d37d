/* SPDX-License-Identifier: Apache-2.0 */
/* The pieces below logs and exec: lines of a growing file, agent frames on a polled socket. */
#include <errno.h>
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

#include "agent/answer.h"
#include "api/frame_stream.h"
#include "api/log_lines.h"
#include "base/cleanup.h"
#include "base/file.h"

struct log_file {
    char path[64];
    int fd;
};

static void log_file_make(struct log_file *file)
{
    snprintf(file->path, sizeof(file->path), "/tmp/tine-test-log-XXXXXX");
    file->fd = mkstemp(file->path);
    assert_true(file->fd >= 0);
}

static void log_file_write(struct log_file *file, const char *text)
{
    assert_int_equal(file_write_exact(file->fd, text, strlen(text), file->path, NULL), 0);
}

static int log_file_open(const struct log_file *file)
{
    int fd = open(file->path, O_RDONLY | O_CLOEXEC);
    assert_true(fd >= 0);
    return fd;
}

static void log_file_remove(struct log_file *file)
{
    close(file->fd);
    unlink(file->path);
}

static void expect_line(struct log_lines *lines, bool last, const char *wanted)
{
    const char *line;
    size_t length;
    assert_int_equal(log_lines_next(lines, last, &line, &length), 1);
    assert_int_equal(length, strlen(wanted));
    assert_memory_equal(line, wanted, length);
}

static void expect_no_line(struct log_lines *lines, bool last)
{
    const char *line;
    size_t length;
    assert_int_equal(log_lines_next(lines, last, &line, &length), 0);
}

static void test_tail(void **state)
{
    struct log_file file;
    struct log_lines lines;
    log_file_make(&file);
    log_file_write(&file, "one\r\n\ntwo\nthree");
    static const struct {
        uint64_t tail;
        const char *lines[5];
    } cases[] = {
        {0, {NULL}},
        {1, {"three"}},
        {2, {"two", "three"}},
        {3, {"", "two", "three"}},
        {4, {"one", "", "two", "three"}},
        {100, {"one", "", "two", "three"}},
        {UINT64_MAX, {"one", "", "two", "three"}},
    };
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        assert_int_equal(log_lines_open(&lines, log_file_open(&file), cases[i].tail), 0);
        for (size_t n = 0; cases[i].lines[n]; n++)
            expect_line(&lines, true, cases[i].lines[n]);
        expect_no_line(&lines, true);
        log_lines_close(&lines);
    }
    log_file_write(&file, "\n");
    assert_int_equal(log_lines_open(&lines, log_file_open(&file), 2), 0);
    expect_line(&lines, true, "two");
    expect_line(&lines, true, "three");
    log_lines_close(&lines);
    log_file_remove(&file);
}

/* Tails that lie several blocks back, with lines across the blocks' borders. */
static void test_tail_long(void **state)
{
    struct log_file file;
    struct log_lines lines;
    char text[64];
    log_file_make(&file);
    for (int i = 0; i < 20000; i++) {
        snprintf(text, sizeof(text), "line number %d\n", i);
        log_file_write(&file, text);
    }
    for (unsigned tail = 1; tail < 20000; tail += 1777) {
        assert_int_equal(log_lines_open(&lines, log_file_open(&file), tail), 0);
        for (unsigned i = 20000 - tail; i < 20000; i++) {
            snprintf(text, sizeof(text), "line number %u", i);
            expect_line(&lines, false, text);
        }
        expect_no_line(&lines, true);
        log_lines_close(&lines);
    }
    log_file_remove(&file);
}

static void test_line_too_long(void **state)
{
    struct log_file file;
    struct log_lines lines;
    const char *line;
    size_t length, total = 0;
    _cleanup_(free) char *text = malloc(150001);
    log_file_make(&file);
    memset(text, 'y', 150000);
    text[150000] = '\0';
    log_file_write(&file, text);
    log_file_write(&file, "\nend\n");
    assert_int_equal(log_lines_open(&lines, log_file_open(&file), 2), 0);
    while (total < 150000) {
        assert_int_equal(log_lines_next(&lines, false, &line, &length), 1);
        assert_true(length <= LOG_LINE_LIMIT);
        total += length;
    }
    assert_int_equal(total, 150000);
    expect_line(&lines, false, "end");
    log_lines_close(&lines);
    log_file_remove(&file);
}

static void test_growing(void **state)
{
    struct log_file file;
    struct log_lines lines;
    log_file_make(&file);
    assert_int_equal(log_lines_open(&lines, log_file_open(&file), 10), 0);
    expect_no_line(&lines, false);
    log_file_write(&file, "par");
    expect_no_line(&lines, false);
    log_file_write(&file, "tial\nnext\n");
    expect_line(&lines, false, "partial");
    expect_line(&lines, false, "next");
    expect_no_line(&lines, false);
    /* The file starts again. */
    assert_int_equal(ftruncate(file.fd, 0), 0);
    assert_int_equal(lseek(file.fd, 0, SEEK_SET), 0);
    log_file_write(&file, "new\n");
    assert_int_equal(log_lines_reopen(&lines, log_file_open(&file)), 0);
    expect_line(&lines, false, "new");
    /* Another file takes its place. */
    struct log_file other;
    log_file_make(&other);
    log_file_write(&other, "other\n");
    assert_int_equal(log_lines_reopen(&lines, log_file_open(&other)), 0);
    expect_line(&lines, false, "other");
    /* The same again changes nothing. */
    assert_int_equal(log_lines_reopen(&lines, log_file_open(&other)), 0);
    expect_no_line(&lines, false);
    log_lines_close(&lines);
    log_file_remove(&file);
    log_file_remove(&other);
}

static void test_frames(void **state)
{
    int ends[2];
    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends), 0);
    struct frame_stream sender = {.fd = -1}, receiver = {.fd = ends[1]};
    _cleanup_(free) char *big = calloc(3, AGENT_FRAME_LIMIT);
    /* Queued before there is a connection. */
    assert_int_equal(frame_stream_queue(&sender, AGENT_STDIN, "abc", 3), 0);
    assert_int_equal(frame_stream_queue(&sender, AGENT_STDIN_EOF, NULL, 0), 0);
    assert_int_equal(frame_stream_flush(&sender), 0);
    assert_int_equal(frame_stream_queued(&sender), 2 * AGENT_FRAME_HEADER + 3);
    sender.fd = ends[0];
    assert_int_equal(
        frame_stream_queue(&sender, AGENT_STDIN, big, (size_t)2 * AGENT_FRAME_LIMIT + 1), 0);
    struct agent_frame frame;
    size_t frames = 0, bytes = 0;
    assert_int_equal(frame_stream_next(&receiver, &frame), 0);
    while (frames < 5) {
        assert_int_equal(frame_stream_flush(&sender), 0);
        assert_true(frame_stream_fill(&receiver) >= 0);
        while (frame_stream_next(&receiver, &frame) == 1) {
            frames++;
            bytes += frame.length;
        }
    }
    assert_int_equal(bytes, 3 + 2 * AGENT_FRAME_LIMIT + 1);
    assert_int_equal(frame_stream_queued(&sender), 0);
    close(ends[0]);
    assert_int_equal(frame_stream_fill(&receiver), -EPIPE);
    frame_stream_release(&sender);
    frame_stream_release(&receiver);
    close(ends[1]);
}

/* What a hostile guest may send: any bytes, in any pieces. */
static void test_frames_random(void **state)
{
    unsigned seed = 7;
    for (int round = 0; round < 2000; round++) {
        int ends[2];
        uint8_t bytes[256];
        assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends), 0);
        struct frame_stream stream = {.fd = ends[1]};
        size_t length = 1 + (size_t)rand_r(&seed) % sizeof(bytes);
        for (size_t i = 0; i < length; i++)
            bytes[i] = rand_r(&seed) % 3 ? 0 : (uint8_t)rand_r(&seed);
        assert_int_equal(send(ends[0], bytes, length, 0), (ssize_t)length);
        close(ends[0]);
        struct agent_frame frame;
        struct agent_exit outcome;
        int r;
        do {
            r = frame_stream_fill(&stream);
            while (frame_stream_next(&stream, &frame) == 1)
                agent_exit_parse(&outcome, &frame);
        } while (r > 0);
        assert_int_equal(r, -EPIPE);
        frame_stream_release(&stream);
        close(ends[1]);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_tail),          cmocka_unit_test(test_tail_long),
        cmocka_unit_test(test_line_too_long), cmocka_unit_test(test_growing),
        cmocka_unit_test(test_frames),        cmocka_unit_test(test_frames_random),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
