/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <errno.h>
#include <string.h>

#include "instance/instance.h"
#include "instance/name.h"
#include "instance/transition.h"

#define STATES 8

/* The contract's table, state by state in the order of the enumeration. */
static const char *const hops[STATES] = {
    [INSTANCE_CREATED] = "-IR-S---",  [INSTANCE_INITIALIZING] = "--R-S---",
    [INSTANCE_RUNNING] = "---PS---",  [INSTANCE_PAUSED] = "--R-S-B-",
    [INSTANCE_SHUTDOWN] = "--R--T--", [INSTANCE_STOPPED] = "C-------",
    [INSTANCE_STANDBY] = "---P-T--",  [INSTANCE_UNKNOWN] = "--------",
};

static void test_every_hop(void **state)
{
    for (int from = 0; from < STATES; from++) {
        for (int to = 0; to < STATES; to++)
            assert_int_equal(
                instance_transition_legal((enum instance_state)from, (enum instance_state)to),
                hops[from][to] != '-');
    }
    assert_false(instance_transition_legal((enum instance_state)99, INSTANCE_RUNNING));
    assert_false(instance_transition_legal(INSTANCE_RUNNING, (enum instance_state)99));
}

/* '+' goes on, '0' nothing to do, '-' refused; states in the order of the enumeration: Created,
 * Initializing, Running, Paused, Shutdown, Stopped, Standby, Unknown. */
static const struct {
    enum instance_operation operation;
    const char *answers;
} operations[] = {
    {OPERATION_START, "-00--+--"},
    {OPERATION_STOP, "-++--0--"},
    {OPERATION_STANDBY, "--+---0-"},
    {OPERATION_RESTORE, "-00---+-"},
    {OPERATION_FORK, "-----++-"},
    {OPERATION_FORK_RUNNING, "--+--++-"},
    {OPERATION_EXEC, "--+-----"},
    {OPERATION_SNAPSHOT_STANDBY, "--+---+-"},
    {OPERATION_SNAPSHOT_STOPPED, "-----+--"},
    {OPERATION_SNAPSHOT_RESTORE, "-----++-"},
    {OPERATION_COPY, "--+-----"},
};

static void test_every_operation_in_every_state(void **state)
{
    for (size_t i = 0; i < sizeof(operations) / sizeof(operations[0]); i++) {
        for (int s = 0; s < STATES; s++) {
            struct instance_record record = {.name = "web", .state = (enum instance_state)s};
            struct error err = {0};
            int r = transition_check(operations[i].operation, &record, &err);
            char answer = operations[i].answers[s];
            assert_int_equal(r > 0 ? '+' : r == 0 ? '0' : '-', answer);
            if (r < 0) {
                assert_int_equal(err.code, ERROR_STATE);
                assert_non_null(strstr(err.message, "web"));
                assert_non_null(strstr(err.message, instance_state_name(record.state)));
            }
        }
    }
}

static void test_unknown_says_why(void **state)
{
    struct instance_record record = {
        .name = "web", .state = INSTANCE_UNKNOWN, .state_error = "the disk is gone"};
    struct error err = {0};
    assert_true(transition_check(OPERATION_START, &record, &err) < 0);
    assert_non_null(strstr(err.message, "the disk is gone"));
}

static void test_generated_names(void **state)
{
    char name[INSTANCE_NAME_GENERATED];
    for (int i = 0; i < 1000; i++) {
        assert_int_equal(name_make(name, NULL), 0);
        assert_int_equal(strlen(name), INSTANCE_NAME_GENERATED - 1);
        assert_true(instance_name_valid(name));
        assert_int_equal(strncmp(name, "vm-", 3), 0);
    }
}

static void test_names(void **state)
{
    static const struct {
        const char *name;
        bool valid;
    } cases[] = {
        {"a", true},
        {"0", true},
        {"a-b", true},
        {"a--b", true},
        {"abcdefghijklmnopqrstuvwxyz0123456789abcdefghijklmnopqrstuvwxyz0", true},
        {"abcdefghijklmnopqrstuvwxyz0123456789abcdefghijklmnopqrstuvwxyz01", false},
        {"", false},
        {"-", false},
        {"-a", false},
        {"a-", false},
        {"A", false},
        {"a_b", false},
        {"a.b", false},
        {"a/b", false},
        {"..", false},
        {"a b", false},
        {"\xc3\xa4", false},
        {"a\n", false},
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++)
        assert_int_equal(instance_name_valid(cases[i].name), cases[i].valid);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_every_hop),
        cmocka_unit_test(test_every_operation_in_every_state),
        cmocka_unit_test(test_unknown_says_why),
        cmocka_unit_test(test_generated_names),
        cmocka_unit_test(test_names),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
