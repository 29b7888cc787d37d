/* SPDX-License-Identifier: Apache-2.0 */
/* The host's side against VMMs and agents that are late, refuse, lie or hang. */
#include "fixture.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "agent/client.h"
#include "base/clock.h"

#define SHORT_MS 150u /* for what must time out */

static int setup(void **state)
{
    static struct fixture fixture;
    fixture_open(&fixture);
    *state = &fixture;
    return 0;
}

static int teardown(void **state)
{
    fixture_close(*state);
    return 0;
}

static void run_script(struct fixture *fixture, const void *bytes, size_t length)
{
    vmm_start(fixture, &(struct behaviour){.treatment = SCRIPT, .bytes = bytes, .length = length});
}

static void run_frame(struct fixture *fixture, uint8_t type, const void *payload, size_t length)
{
    uint8_t bytes[512];
    run_script(fixture, bytes, frame_build(bytes, type, payload, length));
}

static void nobody_there(void **state)
{
    struct fixture *fixture = *state;
    struct error err = {0};
    uint64_t begin = time_monotonic_ns();
    assert_int_equal(agent_connect(fixture->vsock, SHORT_MS, &err), -ETIMEDOUT);
    assert_true(time_monotonic_ns() - begin >= SHORT_MS * 1000000ull);
    assert_int_equal(err.code, ERROR_TIMEOUT);
    assert_string_equal(err.path, fixture->vsock);
    assert_non_null(strstr(err.message, "ENOENT"));
}

static void socket_appears_late(void **state)
{
    struct fixture *fixture = *state;
    vmm_start(fixture, &(struct behaviour){.treatment = SCRIPT, .delay_ms = 100, .line = NULL});
    int fd = agent_connect(fixture->vsock, TIMEOUT_MS, NULL);
    assert_true(fd >= 0);
    close(fd);
}

static void refused_then_served(void **state)
{
    struct fixture *fixture = *state;
    vmm_start(fixture, &(struct behaviour){.treatment = SCRIPT, .refusals = 3});
    int fd = agent_connect(fixture->vsock, TIMEOUT_MS, NULL);
    assert_true(fd >= 0);
    close(fd);
}

static void refused_for_ever(void **state)
{
    struct fixture *fixture = *state;
    struct error err = {0};
    vmm_start(fixture, &(struct behaviour){.treatment = REFUSE});
    assert_int_equal(agent_connect(fixture->vsock, SHORT_MS, &err), -ETIMEDOUT);
    assert_int_equal(err.code, ERROR_TIMEOUT);
    assert_non_null(strstr(err.message, "not reached"));
}

static void silence_times_out(void **state)
{
    struct fixture *fixture = *state;
    struct error err = {0};
    vmm_start(fixture, &(struct behaviour){.treatment = SILENT});
    assert_int_equal(agent_connect(fixture->vsock, SHORT_MS, &err), -ETIMEDOUT);
    assert_int_equal(err.code, ERROR_TIMEOUT);
}

static void not_an_ok_line(void **state)
{
    static const char *const lines[] = {
        "HTTP/1.1 200 OK\n", "OK\n",    "OK \n", "OK 12x\n",
        "ok 12\n",           "OK -1\n", "\n",    "OK 1111111111111111111111111111111111111111111\n",
    };
    for (size_t i = 0; i < sizeof(lines) / sizeof(lines[0]); i++) {
        struct fixture *fixture = *state;
        struct error err = {0};
        vmm_start(fixture, &(struct behaviour){.treatment = SCRIPT, .line = lines[i]});
        assert_int_equal(agent_connect(fixture->vsock, TIMEOUT_MS, &err), -EPROTO);
        assert_int_equal(err.code, ERROR_CORRUPT);
        fixture_close(fixture);
        fixture_open(fixture);
    }
}

/* What is not going to pass must not be waited for. */
static void hopeless_failure_is_told_at_once(void **state)
{
    struct fixture *fixture = *state;
    struct error err = {0};
    char path[200];
    int n = snprintf(path, sizeof(path), "%s/file/vsock", fixture->directory);
    path[n - (int)strlen("/vsock")] = '\0';
    FILE *file = fopen(path, "w");
    assert_non_null(file);
    fclose(file);
    path[n - (int)strlen("/vsock")] = '/';
    assert_int_equal(agent_connect(path, TIMEOUT_MS, &err), -ENOTDIR);
    assert_non_null(strstr(err.message, "ENOTDIR"));
}

/* The OK line and the guest's first bytes come together: none of these may be lost. */
static void data_right_behind_ok(void **state)
{
    struct fixture *fixture = *state;
    char got[5];
    vmm_start(fixture, &(struct behaviour){.treatment = SCRIPT, .line = "OK 7\nhello"});
    int fd = agent_connect(fixture->vsock, TIMEOUT_MS, NULL);
    assert_true(fd >= 0);
    assert_int_equal(read(fd, got, sizeof(got)), 5);
    assert_memory_equal(got, "hello", 5);
    close(fd);
}

static void hello_is_read(void **state)
{
    struct fixture *fixture = *state;
    struct agent_info info;
    uint8_t data[256];
    struct agent_fields fields = {.data = data, .capacity = sizeof(data)};
    agent_field_put_text(&fields, AGENT_TAG_VERSION, "1.2.3");
    agent_field_put_text(&fields, 999, "from the future");
    agent_field_put_text(&fields, AGENT_TAG_HOSTNAME, "a\nb");
    agent_field_put_u64(&fields, AGENT_TAG_UPTIME_MS, 12345678901ull);
    run_frame(fixture, AGENT_OK, data, fields.length);
    assert_int_equal(agent_hello(fixture->vsock, TIMEOUT_MS, &info, NULL), 0);
    assert_string_equal(info.version, "1.2.3");
    assert_string_equal(info.hostname, "a?b");
    assert_string_equal(info.kernel, "");
    assert_true(info.uptime_ms == 12345678901ull);
}

/* A restored guest resets the connections of its former life. */
static void lost_connections_are_retried(void **state)
{
    struct fixture *fixture = *state;
    uint8_t bytes[16];
    size_t length = frame_build(bytes, AGENT_OK, NULL, 0);
    vmm_start(fixture, &(struct behaviour){
                           .treatment = SCRIPT, .losses = 3, .bytes = bytes, .length = length});
    assert_int_equal(agent_sync(fixture->vsock, TIMEOUT_MS, NULL), 0);
}

static void lost_for_ever(void **state)
{
    struct fixture *fixture = *state;
    struct error err = {0};
    vmm_start(fixture, &(struct behaviour){.treatment = SCRIPT, .losses = 1000000});
    assert_int_equal(agent_sync(fixture->vsock, SHORT_MS, &err), -ETIMEDOUT);
    assert_int_equal(err.code, ERROR_TIMEOUT);
}

static void failure_in_the_guests_words(void **state)
{
    struct fixture *fixture = *state;
    struct error err = {0};
    uint8_t data[256];
    struct agent_fields fields = {.data = data, .capacity = sizeof(data)};
    agent_field_put_u32(&fields, AGENT_TAG_ERRNO, EPERM);
    agent_field_put_text(&fields, AGENT_TAG_MESSAGE, "set the clock: \x1b[31mno");
    run_frame(fixture, AGENT_FAILED, data, fields.length);
    assert_int_equal(agent_restored(fixture->vsock, TIMEOUT_MS, "name", "entropy", 7, &err),
                     -EPERM);
    assert_non_null(strstr(err.message, "set the clock: ?[31mno"));
}

/* Whatever number the guest calls an errno, ours is a positive one. */
static void failure_with_an_absurd_errno(void **state)
{
    struct fixture *fixture = *state;
    struct error err = {0};
    uint8_t data[64];
    struct agent_fields fields = {.data = data, .capacity = sizeof(data)};
    agent_field_put_u32(&fields, AGENT_TAG_ERRNO, 0x80000000u);
    run_frame(fixture, AGENT_FAILED, data, fields.length);
    assert_int_equal(agent_sync(fixture->vsock, TIMEOUT_MS, &err), -EIO);
}

/* A guest could also call its failure a lost connection, to keep us asking. */
static void failure_called_a_lost_connection(void **state)
{
    struct fixture *fixture = *state;
    uint8_t data[64];
    struct agent_fields fields = {.data = data, .capacity = sizeof(data)};
    agent_field_put_u32(&fields, AGENT_TAG_ERRNO, ECONNRESET);
    run_frame(fixture, AGENT_FAILED, data, fields.length);
    assert_int_equal(agent_sync(fixture->vsock, TIMEOUT_MS, NULL), -ECONNRESET);
}

/* Half a failure tells nothing: the connection was lost, and the next one is asked. */
static void failure_that_is_cut(void **state)
{
    struct fixture *fixture = *state;
    uint8_t data[64], bytes[64];
    struct agent_fields fields = {.data = data, .capacity = sizeof(data)};
    agent_field_put_u32(&fields, AGENT_TAG_ERRNO, EPERM);
    size_t length = frame_build(bytes, AGENT_FAILED, data, fields.length);
    vmm_start(fixture, &(struct behaviour){.treatment = SCRIPT,
                                           .losses = 1,
                                           .last_words = AGENT_FRAME_HEADER + 4,
                                           .bytes = bytes,
                                           .length = length});
    assert_int_equal(agent_sync(fixture->vsock, TIMEOUT_MS, NULL), -EPERM);
}

static void garbage_answers(void **state)
{
    static const struct {
        const char *bytes;
        size_t length;
    } answers[] = {
        {"\xff\xff\xff\xff\x40\0\0\0", 8},                /* 4 GiB */
        {"\0\0\0\0\x40\0\0\1", 8},                        /* reserved */
        {"\0\0\0\0\x20\0\0\0", 8},                        /* not an answer */
        {"\4\0\0\0\x40\0\0\0abcd", 12},                   /* not fields */
        {"\x08\0\0\0\x40\0\0\0\x0c\0\0\0\0\0\0\0", 16},   /* an uptime of no bytes */
        {"\x08\0\0\0\x41\0\0\0\x11\0\0\0\0\0\0\0", 16},   /* a failure, likewise */
        {"\x08\0\0\0\x40\0\0\0\x09\0\0\0\xff\0\0\0", 16}, /* a field beyond the frame */
    };
    for (size_t i = 0; i < sizeof(answers) / sizeof(answers[0]); i++) {
        struct fixture *fixture = *state;
        struct agent_info info;
        struct error err = {0};
        run_script(fixture, answers[i].bytes, answers[i].length);
        assert_int_equal(agent_hello(fixture->vsock, TIMEOUT_MS, &info, &err), -EPROTO);
        assert_int_equal(err.code, ERROR_CORRUPT);
        fixture_close(fixture);
        fixture_open(fixture);
    }
}

static void half_an_answer_and_then_nothing(void **state)
{
    struct fixture *fixture = *state;
    struct error err = {0};
    vmm_start(fixture,
              &(struct behaviour){.treatment = CUT_OFF, .bytes = "\x08\0\0\0\x40", .length = 5});
    assert_int_equal(agent_sync(fixture->vsock, SHORT_MS, &err), -ETIMEDOUT);
    assert_int_equal(err.code, ERROR_TIMEOUT);
}

static const char *const command[] = {"command", NULL};

static void exec_that_makes_no_sense(void **state)
{
    static const struct {
        const char *bytes;
        size_t length;
        int error;
    } answers[] = {
        {"\0\0\0\0\x22\0\0\0", 8, -EPROTO},                                      /* no exit code */
        {"\x0c\0\0\0\x22\0\0\0\x0d\0\0\0\4\0\0\0\0\1\0\0", 20, -EPROTO},         /* 256 */
        {"\x0c\0\0\0\x22\0\0\0\x0d\0\0\0\4\0\0\0\xff\xff\xff\xff", 20, -EPROTO}, /* -1 */
        {"\0\0\0\0\x10\0\0\0", 8, -EPROTO},                                      /* our own type */
        {"\1\0\0\0\x20\0\0\0x", 9, -ECONNRESET},                                 /* no end */
        {"", 0, -ECONNRESET},
    };
    for (size_t i = 0; i < sizeof(answers) / sizeof(answers[0]); i++) {
        struct fixture *fixture = *state;
        struct agent_result result;
        struct error err = {0};
        const struct agent_exec exec = {.argv = command};
        run_script(fixture, answers[i].bytes, answers[i].length);
        assert_int_equal(agent_exec_run(fixture->vsock, TIMEOUT_MS, &exec, 1000, &result, &err),
                         answers[i].error);
        assert_null(result.out);
        assert_null(result.err_out);
        fixture_close(fixture);
        fixture_open(fixture);
    }
}

/* An agent that forgets the command's timeout does not hold the host for ever. */
static void exec_that_never_ends(void **state)
{
    struct fixture *fixture = *state;
    struct agent_result result;
    struct error err = {0};
    const struct agent_exec exec = {.argv = command, .timeout_ms = 1};
    vmm_start(fixture, &(struct behaviour){.treatment = CUT_OFF, .bytes = "", .length = 0});
    assert_int_equal(agent_exec_run(fixture->vsock, 500, &exec, 1000, &result, &err), -ETIMEDOUT);
    assert_int_equal(err.code, ERROR_TIMEOUT);
}

static void exec_of_bad_arguments(void **state)
{
    struct fixture *fixture = *state;
    struct error err = {0};
    static char large[AGENT_FRAME_LIMIT + 1];
    memset(large, 'x', sizeof(large) - 1);
    const char *const none[] = {NULL}, *const huge[] = {"echo", large, NULL};
    const char *const no_name[] = {"=value", NULL}, *const no_value[] = {"NAME", NULL};
    const struct agent_exec bad[] = {
        {.argv = NULL},
        {.argv = none},
        {.argv = huge},
        {.argv = command, .env = no_name},
        {.argv = command, .env = no_value},
    };
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        assert_true(agent_exec_start(fixture->vsock, TIMEOUT_MS, &bad[i], &err) < 0);
        assert_int_equal(err.code, ERROR_INVALID);
    }
}

#define with_fixture(test) cmocka_unit_test_setup_teardown(test, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        with_fixture(nobody_there),
        with_fixture(socket_appears_late),
        with_fixture(refused_then_served),
        with_fixture(refused_for_ever),
        with_fixture(silence_times_out),
        with_fixture(not_an_ok_line),
        with_fixture(hopeless_failure_is_told_at_once),
        with_fixture(data_right_behind_ok),
        with_fixture(hello_is_read),
        with_fixture(lost_connections_are_retried),
        with_fixture(lost_for_ever),
        with_fixture(failure_in_the_guests_words),
        with_fixture(failure_with_an_absurd_errno),
        with_fixture(failure_called_a_lost_connection),
        with_fixture(failure_that_is_cut),
        with_fixture(garbage_answers),
        with_fixture(half_an_answer_and_then_nothing),
        with_fixture(exec_that_makes_no_sense),
        with_fixture(exec_that_never_ends),
        with_fixture(exec_of_bad_arguments),
    };
    return cmocka_run_group_tests_name("agent client", tests, NULL, NULL);
}
