/* SPDX-License-Identifier: Apache-2.0 */
/* Frames and fields: round trips, and what a peer can get wrong. */
#include "fixture.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/clock.h"

struct pair {
    int ends[2];
};

static int pair_open(void **state)
{
    static struct pair pair;
    *state = &pair;
    return socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair.ends);
}

static int pair_close(void **state)
{
    struct pair *pair = *state;
    close(pair->ends[0]);
    if (pair->ends[1] >= 0)
        close(pair->ends[1]);
    return 0;
}

static void hang_up(struct pair *pair)
{
    close(pair->ends[1]);
    pair->ends[1] = -1;
}

static void inject(const struct pair *pair, const void *bytes, size_t length)
{
    assert_int_equal(write(pair->ends[1], bytes, length), (ssize_t)length);
}

static void frames_round_trip(void **state)
{
    struct pair *pair = *state;
    uint8_t buffer[AGENT_FRAME_LIMIT];
    struct agent_frame frame;
    assert_int_equal(agent_frame_write(pair->ends[1], AGENT_STDIN, "hello", 5, NULL), 0);
    assert_int_equal(agent_frame_write(pair->ends[1], AGENT_STDIN_EOF, NULL, 0, NULL), 0);
    assert_int_equal(agent_frame_read(pair->ends[0], buffer, &frame, NULL), 1);
    assert_int_equal(frame.type, AGENT_STDIN);
    assert_int_equal(frame.length, 5);
    assert_memory_equal(frame.payload, "hello", 5);
    assert_int_equal(agent_frame_read(pair->ends[0], buffer, &frame, NULL), 1);
    assert_int_equal(frame.type, AGENT_STDIN_EOF);
    assert_int_equal(frame.length, 0);
    hang_up(pair);
    assert_int_equal(agent_frame_read(pair->ends[0], buffer, &frame, NULL), 0);
}

/* The header is what the specification says, byte by byte. */
static void header_bytes(void **state)
{
    struct pair *pair = *state;
    static const uint8_t wanted[] = {3, 0, 0, 0, 16, 0, 0, 0, 'a', 'b', 'c'};
    uint8_t got[sizeof(wanted)];
    assert_int_equal(agent_frame_write(pair->ends[1], AGENT_STDIN, "abc", 3, NULL), 0);
    assert_int_equal(read(pair->ends[0], got, sizeof(got)), (ssize_t)sizeof(got));
    assert_memory_equal(got, wanted, sizeof(wanted));
}

static void *write_largest(void *data)
{
    static uint8_t payload[AGENT_FRAME_LIMIT];
    for (size_t i = 0; i < sizeof(payload); i++)
        payload[i] = (uint8_t)(i * 7);
    long r = agent_frame_write(*(int *)data, AGENT_STDOUT, payload, sizeof(payload), NULL);
    return (void *)r;
}

static void largest_frame(void **state)
{
    struct pair *pair = *state;
    static uint8_t buffer[AGENT_FRAME_LIMIT];
    struct agent_frame frame;
    pthread_t thread;
    void *written = NULL;
    int small = 4096; /* so that neither side gets by with one system call */
    setsockopt(pair->ends[1], SOL_SOCKET, SO_SNDBUF, &small, sizeof(small));
    assert_int_equal(pthread_create(&thread, NULL, write_largest, &pair->ends[1]), 0);
    assert_int_equal(agent_frame_read(pair->ends[0], buffer, &frame, NULL), 1);
    assert_int_equal(pthread_join(thread, &written), 0);
    assert_null(written);
    assert_int_equal(frame.length, AGENT_FRAME_LIMIT);
    for (size_t i = 0; i < frame.length; i++)
        assert_int_equal(frame.payload[i], (uint8_t)(i * 7));
}

static void oversize_is_refused(void **state)
{
    struct pair *pair = *state;
    static uint8_t buffer[AGENT_FRAME_LIMIT + 1];
    struct agent_frame frame;
    struct error err = {0};
    assert_int_equal(agent_frame_write(pair->ends[1], 1, buffer, sizeof(buffer), &err), -EMSGSIZE);
    assert_int_equal(err.errnum, EMSGSIZE);
    const uint8_t header[] = {1, 0, 1, 0, 1, 0, 0, 0}; /* 64 KiB + 1 */
    inject(pair, header, sizeof(header));
    assert_int_equal(agent_frame_read(pair->ends[0], buffer, &frame, &err), -EPROTO);
    assert_int_equal(err.code, ERROR_CORRUPT);
}

static void reserved_bytes_are_refused(void **state)
{
    struct pair *pair = *state;
    for (int i = 5; i < 8; i++) {
        uint8_t header[8] = {0, 0, 0, 0, 1};
        uint8_t buffer[16];
        struct agent_frame frame;
        header[i] = 1;
        inject(pair, header, sizeof(header));
        assert_int_equal(agent_frame_read(pair->ends[0], buffer, &frame, NULL), -EPROTO);
    }
}

/* Cut at every byte of a frame: only the cut before it is an orderly end. */
static void truncated_frame(void **state)
{
    uint8_t whole[AGENT_FRAME_HEADER + 4];
    size_t length = frame_build(whole, AGENT_STDOUT, "1234", 4);
    for (size_t cut = 1; cut < length; cut++) {
        int ends[2];
        uint8_t buffer[16];
        struct agent_frame frame;
        struct error err = {0};
        assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM, 0, ends), 0);
        assert_int_equal(write(ends[1], whole, cut), (ssize_t)cut);
        close(ends[1]);
        assert_int_equal(agent_frame_read(ends[0], buffer, &frame, &err), -ECONNRESET);
        assert_non_null(strstr(err.message, "within"));
        close(ends[0]);
    }
}

static void deadlines_hold(void **state)
{
    struct pair *pair = *state;
    static uint8_t buffer[AGENT_FRAME_LIMIT];
    struct agent_frame frame;
    struct error err = {0};
    const uint8_t header[] = {4, 0, 0, 0, 1, 0, 0, 0};
    inject(pair, header, sizeof(header)); /* and never the payload */
    assert_int_equal(agent_frame_read_until(pair->ends[0], buffer, &frame, time_after_ms(20), &err),
                     -ETIMEDOUT);
    assert_int_equal(err.code, ERROR_TIMEOUT);
    int r = 0;
    while (r == 0) /* nobody reads: the socket is full some time */
        r = agent_frame_write_until(pair->ends[1], 1, buffer, sizeof(buffer), time_after_ms(20),
                                    &err);
    assert_int_equal(r, -ETIMEDOUT);
}

/* A daemon must not die of a guest that went away. */
static void no_sigpipe(void **state)
{
    struct pair *pair = *state;
    hang_up(pair);
    assert_int_equal(agent_frame_write(pair->ends[0], 1, "x", 1, NULL), -EPIPE);
}

static void fields_round_trip(void **state)
{
    uint8_t data[128];
    struct agent_fields fields = {.data = data, .capacity = sizeof(data)};
    size_t offset = 0;
    uint16_t tag;
    const uint8_t *value;
    uint32_t length, number;
    uint64_t large;
    agent_field_put_text(&fields, AGENT_TAG_ARG, "ls");
    agent_field_put(&fields, AGENT_TAG_TIMED_OUT, NULL, 0);
    agent_field_put_u32(&fields, AGENT_TAG_TIMEOUT_MS, 0x01020304);
    agent_field_put_u64(&fields, AGENT_TAG_UPTIME_MS, 0x0102030405060708);
    assert_false(fields.overflow);
    assert_int_equal(agent_field_next(data, fields.length, &offset, &tag, &value, &length), 1);
    assert_int_equal(tag, AGENT_TAG_ARG);
    assert_int_equal(length, 2);
    assert_memory_equal(value, "ls", 2);
    assert_int_equal(agent_field_next(data, fields.length, &offset, &tag, &value, &length), 1);
    assert_int_equal(tag, AGENT_TAG_TIMED_OUT);
    assert_int_equal(length, 0);
    assert_int_equal(agent_field_next(data, fields.length, &offset, &tag, &value, &length), 1);
    assert_int_equal(value[0], 4); /* little-endian */
    assert_int_equal(agent_value_u32(value, length, &number), 0);
    assert_int_equal(number, 0x01020304);
    assert_int_equal(agent_value_u64(value, length, &large), -EPROTO);
    assert_int_equal(agent_field_next(data, fields.length, &offset, &tag, &value, &length), 1);
    assert_int_equal(agent_value_u64(value, length, &large), 0);
    assert_true(large == 0x0102030405060708);
    assert_int_equal(agent_value_u32(value, length, &number), -EPROTO);
    assert_int_equal(agent_field_next(data, fields.length, &offset, &tag, &value, &length), 0);
}

static void fields_overflow(void **state)
{
    uint8_t data[20];
    struct agent_fields fields = {.data = data, .capacity = sizeof(data)};
    agent_field_put(&fields, 1, "123456789012", 12); /* just fits */
    assert_false(fields.overflow);
    assert_int_equal(fields.length, 20);
    agent_field_put(&fields, 1, NULL, 0);
    assert_true(fields.overflow);
    assert_int_equal(fields.length, 20);
    fields = (struct agent_fields){.data = data, .capacity = sizeof(data)};
    agent_field_put(&fields, 1, "1234567890123", 13);
    assert_true(fields.overflow);
    assert_int_equal(fields.length, 0);
    agent_field_put(&fields, 1, NULL, 0); /* a hole in the list would be worse than none */
    assert_int_equal(fields.length, 0);
}

static void malformed_fields(void **state)
{
    static const struct {
        uint8_t data[12];
        size_t length;
    } lists[] = {
        {{1}, 1},                                   /* less than a header */
        {{1, 0, 0, 0, 0, 0, 0}, 7},                 /* one byte less */
        {{1, 0, 0, 0, 1, 0, 0, 0}, 8},              /* one byte promised, none there */
        {{1, 0, 0, 0, 5, 0, 0, 0, 1, 2, 3, 4}, 12}, /* one too many promised */
        {{1, 0, 0, 0, 0xff, 0xff, 0xff, 0xff}, 8},  /* a length that wraps */
        {{1, 0, 1, 0, 0, 0, 0, 0}, 8},              /* reserved */
        {{1, 0, 0, 0, 1, 0, 0, 0, 7, 1}, 10},       /* a good one, then a stump */
    };
    for (size_t i = 0; i < sizeof(lists) / sizeof(lists[0]); i++) {
        size_t offset = 0;
        uint16_t tag;
        const uint8_t *value;
        uint32_t length;
        int r;
        while ((r = agent_field_next(lists[i].data, lists[i].length, &offset, &tag, &value,
                                     &length)) > 0) {
        }
        assert_int_equal(r, -EPROTO);
    }
}

static void text_is_made_harmless(void **state)
{
    char text[8];
    agent_value_text((const uint8_t *)"a\x1b[2J\0b\x7f", 8, text, sizeof(text));
    assert_string_equal(text, "a?[2J?b");
    agent_value_text((const uint8_t *)"", 0, text, sizeof(text));
    assert_string_equal(text, "");
}

#define with_pair(test) cmocka_unit_test_setup_teardown(test, pair_open, pair_close)

int main(void)
{
    const struct CMUnitTest tests[] = {
        with_pair(frames_round_trip),
        with_pair(header_bytes),
        with_pair(largest_frame),
        with_pair(oversize_is_refused),
        with_pair(reserved_bytes_are_refused),
        cmocka_unit_test(truncated_frame),
        with_pair(deadlines_hold),
        with_pair(no_sigpipe),
        cmocka_unit_test(fields_round_trip),
        cmocka_unit_test(fields_overflow),
        cmocka_unit_test(malformed_fields),
        cmocka_unit_test(text_is_made_harmless),
    };
    return cmocka_run_group_tests_name("agent protocol", tests, NULL, NULL);
}
