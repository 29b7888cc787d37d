/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/cleanup.h"
#include "vmm/options.h"

#define MAX_ARGUMENTS 8

static int read_options(struct options *options, const char *const *arguments, struct error *err)
{
    char *argv[MAX_ARGUMENTS + 2] = {(char *)"tine-vmm"};
    int argc = 1;
    while (arguments[argc - 1]) {
        argv[argc] = (char *)arguments[argc - 1];
        argc++;
    }
    return options_read(options, argc, argv, err);
}

static void test_defaults(void **context)
{
    (void)context;
    const char *none[] = {NULL};
    struct options options;
    struct error err = {0};
    assert_int_equal(read_options(&options, none, &err), 0);
    assert_string_equal(options.api_socket, "/run/firecracker.socket");
    assert_string_equal(options.id, "anonymous-instance");
    assert_null(options.log_path);
    assert_int_equal(options.level, LOG_LEVEL_INFO);
    assert_int_equal(options.body_limit, 51200);
}

static void test_all_given(void **context)
{
    (void)context;
    const char *given[] = {"--id", "A-z9",    "--no-seccomp", "--api-sock",
                           "a b",  "--level", "DeBug",        NULL};
    const char *more[] = {
        "--seccomp-filter", "f", "--log-path", "-", "--http-api-max-payload-size", "100",
        "--version",        NULL};
    struct options options;
    struct error err = {0};
    assert_int_equal(read_options(&options, given, &err), 0);
    assert_string_equal(options.id, "A-z9");
    assert_string_equal(options.api_socket, "a b");
    assert_int_equal(options.level, LOG_LEVEL_DEBUG);
    assert_int_equal(read_options(&options, more, &err), 0);
    assert_string_equal(options.log_path, "-");
    assert_int_equal(options.body_limit, 100);
    assert_true(options.version);
}

static void test_refused(void **context)
{
    (void)context;
    static const char long_id[] =
        "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa";
    static const char *const cases[][4] = {
        {"--id=x"},
        {"--id"},
        {"--id", "--no-seccomp"},
        {"--id", "a", "--id", "a"},
        {"--id", ""},
        {"--id", "under_score"},
        {"--id", "sp ace"},
        {"--id", long_id},
        {"--nonsense"},
        {"stray"},
        {"--no-seccomp", "--no-seccomp"},
        {"--level", "loud"},
        {"--http-api-max-payload-size", "0"},
        {"--http-api-max-payload-size", "-1"},
        {"--http-api-max-payload-size", "12x"},
        {"--http-api-max-payload-size", ""},
        {"--http-api-max-payload-size", "99999999999999999999"},
        {""},
    };
    assert_int_equal(strlen(long_id), 65);
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        const char *arguments[5] = {cases[i][0], cases[i][1], cases[i][2], cases[i][3], NULL};
        struct options options;
        struct error err = {0};
        assert_true(read_options(&options, arguments, &err) < 0);
        assert_int_equal(err.code, ERROR_INVALID);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_defaults),
        cmocka_unit_test(test_all_given),
        cmocka_unit_test(test_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
