/* SPDX-License-Identifier: Apache-2.0 */
#include "shared.h"

#include <setjmp.h>
#include <stdarg.h>
#include <string.h>

#include <cmocka.h>

const struct extent mixed[MIXED_COUNT] = {
    {64 * KIB, 8 * KIB}, {1 * MIB, 5000}, {2 * MIB, 128 * KIB}};

struct pair pair_of(void **state)
{
    return pair_make(fixture_scratch(*state), fixture_scratch(*state));
}

struct pair pair_across(void **state)
{
    const char *other = strcmp(*state, "tmpfs") == 0 ? "ext4" : "tmpfs";
    return pair_make(fixture_scratch(other), fixture_scratch(*state));
}

void share_fails(const struct pair *pair, int errnum, const char *words)
{
    struct stack_file from = in_dir(pair->a, "memory"), to = in_dir(pair->b, "fork");
    struct stack_result result;
    struct error err = {0};
    assert_int_equal(stack_share(&from, &to, &result, &err), -errnum);
    assert_int_equal(err.errnum, errnum);
    if (!strstr(err.message, words) || !strstr(err.message, errno_name(errnum)))
        fail_msg("message '%s' lacks '%s' or %s", err.message, words, errno_name(errnum));
}

struct stack_result share_works(const struct pair *pair)
{
    struct stack_file from = in_dir(pair->a, "memory"), to = in_dir(pair->b, "fork");
    struct stack_result result;
    struct error err = {0};
    if (stack_share(&from, &to, &result, &err) != 0)
        fail_msg("%s", err.message);
    return result;
}
