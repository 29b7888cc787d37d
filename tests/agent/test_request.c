/* SPDX-License-Identifier: Apache-2.0 */
/* The guest's reading of an EXEC frame. */
#include "fixture.h"

#include <errno.h>
#include <string.h>

#include "agent/guest/exec_request.h"

static uint8_t data[4096];

static struct agent_fields start(void)
{
    return (struct agent_fields){.data = data, .capacity = sizeof(data)};
}

static void defaults(void **state)
{
    struct exec_request request;
    struct agent_fields fields = start();
    agent_field_put_text(&fields, AGENT_TAG_ARG, "ls");
    assert_int_equal(exec_request_parse(&request, data, fields.length, NULL), 0);
    assert_string_equal(request.argv[0], "ls");
    assert_null(request.argv[1]);
    assert_string_equal(request.cwd, "/");
    assert_false(request.tty);
    assert_int_equal(request.timeout_ms, 0);
    assert_int_equal(strncmp(request.env[0], "PATH=", 5), 0);
    assert_string_equal(request.env[1], "HOME=/root");
    assert_string_equal(request.env[2], "LANG=C.UTF-8");
    assert_null(request.env[3]);
    exec_request_release(&request);
}

static void everything(void **state)
{
    struct exec_request request;
    struct agent_fields fields = start();
    agent_field_put_text(&fields, 777, "of a newer host");
    agent_field_put(&fields, AGENT_TAG_TTY, "\x19\0\0\0", 4); /* 25 rows, columns left to us */
    agent_field_put_text(&fields, AGENT_TAG_ARG, "a");
    agent_field_put_text(&fields, AGENT_TAG_ENV, "TERM=vt100");
    agent_field_put_text(&fields, AGENT_TAG_ARG, "");
    agent_field_put_text(&fields, AGENT_TAG_ENV, "PATH=/only");
    agent_field_put_text(&fields, AGENT_TAG_ENV, "PATHS=x=y");
    agent_field_put_text(&fields, AGENT_TAG_ENV, "EMPTY=");
    agent_field_put_text(&fields, AGENT_TAG_CWD, "/tmp");
    agent_field_put_text(&fields, AGENT_TAG_CWD, "/root");
    agent_field_put_u32(&fields, AGENT_TAG_TIMEOUT_MS, 1500);
    assert_int_equal(exec_request_parse(&request, data, fields.length, NULL), 0);
    assert_string_equal(request.argv[0], "a");
    assert_string_equal(request.argv[1], "");
    assert_null(request.argv[2]);
    static const char *const env[] = {"PATH=/only", "HOME=/root", "LANG=C.UTF-8",
                                      "TERM=vt100", "PATHS=x=y",  "EMPTY="};
    for (size_t i = 0; i < 6; i++)
        assert_string_equal(request.env[i], env[i]);
    assert_null(request.env[6]);
    assert_string_equal(request.cwd, "/root");
    assert_true(request.tty);
    assert_int_equal(request.rows, 25);
    assert_int_equal(request.cols, 80);
    assert_int_equal(request.timeout_ms, 1500);
    exec_request_release(&request);
}

static void malformed(void **state)
{
    static const struct {
        uint16_t tag;
        const char *value;
        size_t length;
    } bad[] = {
        {AGENT_TAG_ARG, "a\0b", 3},     {AGENT_TAG_ENV, "NAME", 4},
        {AGENT_TAG_ENV, "=value", 6},   {AGENT_TAG_ENV, "", 0},
        {AGENT_TAG_ENV, "A=\0b", 4},    {AGENT_TAG_CWD, "/a\0b", 4},
        {AGENT_TAG_TTY, "\x19\0\0", 3}, {AGENT_TAG_TTY, "", 0},
        {AGENT_TAG_TIMEOUT_MS, "1", 1}, {AGENT_TAG_TIMEOUT_MS, "12345678", 8},
    };
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        struct exec_request request;
        struct error err = {0};
        struct agent_fields fields = start();
        agent_field_put_text(&fields, AGENT_TAG_ARG, "ls");
        agent_field_put(&fields, bad[i].tag, bad[i].value, bad[i].length);
        assert_int_equal(exec_request_parse(&request, data, fields.length, &err), -EINVAL);
        assert_int_equal(err.code, ERROR_INVALID);
        exec_request_release(&request);
    }
}

static void no_command(void **state)
{
    struct exec_request request;
    struct agent_fields fields = start();
    assert_int_equal(exec_request_parse(&request, data, 0, NULL), -EINVAL);
    exec_request_release(&request);
    agent_field_put_text(&fields, AGENT_TAG_ARG, "");
    assert_int_equal(exec_request_parse(&request, data, fields.length, NULL), -EINVAL);
    exec_request_release(&request);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(defaults),
        cmocka_unit_test(everything),
        cmocka_unit_test(malformed),
        cmocka_unit_test(no_command),
    };
    return cmocka_run_group_tests_name("exec request", tests, NULL, NULL);
}
