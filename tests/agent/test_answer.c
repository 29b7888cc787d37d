/* SPDX-License-Identifier: Apache-2.0 */
/* The host's reading of the agent's last frames: nothing of a hostile guest's gets through. */
#include "fixture.h"

#include <errno.h>
#include <string.h>

#include "agent/answer.h"

static uint8_t data[1024];

static struct agent_fields start(void)
{
    return (struct agent_fields){.data = data, .capacity = sizeof(data)};
}

static int exit_of(const struct agent_fields *fields, struct agent_exit *outcome)
{
    return agent_exit_parse(outcome,
                            &(struct agent_frame){AGENT_EXIT, (uint32_t)fields->length, data});
}

static int failure_of(const struct agent_fields *fields, struct agent_failure *failure)
{
    return agent_failure_parse(failure,
                               &(struct agent_frame){AGENT_FAILED, (uint32_t)fields->length, data});
}

static void exit_is_read(void **state)
{
    struct agent_exit outcome;
    struct agent_fields fields = start();
    agent_field_put_u32(&fields, AGENT_TAG_EXIT_CODE, 137);
    agent_field_put_u32(&fields, AGENT_TAG_SIGNAL, 9);
    agent_field_put_text(&fields, 999, "of a newer agent");
    agent_field_put(&fields, AGENT_TAG_TIMED_OUT, NULL, 0);
    assert_int_equal(exit_of(&fields, &outcome), 0);
    assert_int_equal(outcome.code, 137);
    assert_int_equal(outcome.signal, 9);
    assert_true(outcome.timed_out);
    assert_string_equal(outcome.message, "");
}

static void exit_without_a_status(void **state)
{
    struct agent_exit outcome;
    struct agent_fields fields = start();
    assert_int_equal(exit_of(&fields, &outcome), -EPROTO);
    agent_field_put_u32(&fields, AGENT_TAG_SIGNAL, 9);
    assert_int_equal(exit_of(&fields, &outcome), -EPROTO);
}

static void exit_out_of_range(void **state)
{
    static const struct {
        uint16_t tag;
        uint32_t number;
    } bad[] = {
        {AGENT_TAG_EXIT_CODE, 256},
        {AGENT_TAG_EXIT_CODE, 0xffffffff},
        {AGENT_TAG_SIGNAL, 65},
        {AGENT_TAG_SIGNAL, 0x80000000},
    };
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        struct agent_exit outcome;
        struct agent_fields fields = start();
        agent_field_put_u32(&fields, AGENT_TAG_EXIT_CODE, 0);
        agent_field_put_u32(&fields, bad[i].tag, bad[i].number);
        assert_int_equal(exit_of(&fields, &outcome), -EPROTO);
    }
}

static void exit_that_is_cut(void **state)
{
    struct agent_exit outcome;
    struct agent_fields fields = start();
    agent_field_put_u32(&fields, AGENT_TAG_EXIT_CODE, 7);
    assert_int_equal(exit_of(&fields, &outcome), 0);
    while (--fields.length > 0)
        assert_int_equal(exit_of(&fields, &outcome), -EPROTO);
    fields = start();
    agent_field_put(&fields, AGENT_TAG_EXIT_CODE, "\7\0", 2);
    assert_int_equal(exit_of(&fields, &outcome), -EPROTO);
}

/* What the guest says must not steer the terminal it is shown on. */
static void text_is_made_plain(void **state)
{
    struct agent_exit outcome;
    struct agent_failure failure;
    struct agent_fields fields = start();
    agent_field_put_u32(&fields, AGENT_TAG_EXIT_CODE, 127);
    agent_field_put(&fields, AGENT_TAG_MESSAGE, "exec \x1b[31mx\0y\n", 14);
    assert_int_equal(exit_of(&fields, &outcome), 0);
    assert_string_equal(outcome.message, "exec ?[31mx?y?");
    assert_int_equal(failure_of(&fields, &failure), 0);
    assert_string_equal(failure.message, "exec ?[31mx?y?");
}

static void long_text_is_cut(void **state)
{
    static char text[AGENT_MESSAGE_SIZE + 100];
    struct agent_exit outcome;
    struct agent_fields fields = start();
    memset(text, 'x', sizeof(text) - 1);
    agent_field_put_u32(&fields, AGENT_TAG_EXIT_CODE, 127);
    agent_field_put_text(&fields, AGENT_TAG_MESSAGE, text);
    assert_int_equal(exit_of(&fields, &outcome), 0);
    assert_int_equal(strlen(outcome.message), AGENT_MESSAGE_SIZE - 1);
}

static void failure_is_read(void **state)
{
    struct agent_failure failure;
    struct agent_fields fields = start();
    assert_int_equal(failure_of(&fields, &failure), 0);
    assert_int_equal(failure.errnum, EIO);
    assert_string_equal(failure.message, "no reason given");
    agent_field_put_u32(&fields, AGENT_TAG_ERRNO, ENOSPC);
    agent_field_put_text(&fields, AGENT_TAG_MESSAGE, "full");
    assert_int_equal(failure_of(&fields, &failure), 0);
    assert_int_equal(failure.errnum, ENOSPC);
    assert_string_equal(failure.message, "full");
    fields.length -= 1;
    assert_int_equal(failure_of(&fields, &failure), -EPROTO);
}

/* Callers return it negated: it must stay an errno. */
static void failure_with_an_absurd_errno(void **state)
{
    static const uint32_t absurd[] = {0, 4096, 0x80000000, 0xffffffff};
    for (size_t i = 0; i < sizeof(absurd) / sizeof(absurd[0]); i++) {
        struct agent_failure failure;
        struct agent_fields fields = start();
        agent_field_put_u32(&fields, AGENT_TAG_ERRNO, absurd[i]);
        assert_int_equal(failure_of(&fields, &failure), 0);
        assert_int_equal(failure.errnum, EIO);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(exit_is_read),       cmocka_unit_test(exit_without_a_status),
        cmocka_unit_test(exit_out_of_range),  cmocka_unit_test(exit_that_is_cut),
        cmocka_unit_test(text_is_made_plain), cmocka_unit_test(long_text_is_cut),
        cmocka_unit_test(failure_is_read),    cmocka_unit_test(failure_with_an_absurd_errno),
    };
    return cmocka_run_group_tests_name("agent answers", tests, NULL, NULL);
}
