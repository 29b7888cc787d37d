/* SPDX-License-Identifier: Apache-2.0 */
/* Names from elsewhere: which of them stay below the directory they are used in. */
#include <limits.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "base/relative_path.h"

static void good(void **state)
{
    static const char *const paths[] = {"a", "..a", "a..", "...", "a/b", ".hidden/x", "a b/\n"};
    for (size_t i = 0; i < sizeof(paths) / sizeof(paths[0]); i++) {
        if (!relative_path_valid(paths[i]))
            fail_msg("\"%s\" is refused", paths[i]);
    }
}

static void bad(void **state)
{
    static const char *const paths[] = {"",       "/",    "/a",   ".",    "..",    "a/..",
                                        "a/../b", "../a", "a//b", "a/",   "./a",   "a/.",
                                        "a/./b",  "//",   "/..",  "./..", "a/b/.."};
    for (size_t i = 0; i < sizeof(paths) / sizeof(paths[0]); i++) {
        if (relative_path_valid(paths[i]))
            fail_msg("\"%s\" is taken", paths[i]);
    }
}

static void lengths(void **state)
{
    char name[NAME_MAX + 2], path[PATH_MAX + 1];
    memset(name, 'n', sizeof(name));
    name[NAME_MAX + 1] = '\0';
    assert_false(relative_path_valid(name));
    name[NAME_MAX] = '\0';
    assert_true(relative_path_valid(name));
    for (size_t i = 0; i < PATH_MAX; i++)
        path[i] = i % 2 ? '/' : 'p';
    path[PATH_MAX - 1] = 'p';
    path[PATH_MAX] = '\0';
    assert_false(relative_path_valid(path));
    path[PATH_MAX - 3] = '\0';
    assert_true(relative_path_valid(path + (path[0] == '/')));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(good),
        cmocka_unit_test(bad),
        cmocka_unit_test(lengths),
    };
    return cmocka_run_group_tests_name("relative paths", tests, NULL, NULL);
}
