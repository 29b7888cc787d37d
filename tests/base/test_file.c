/* SPDX-License-Identifier: Apache-2.0 */
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include <cmocka.h>

#include "base/cleanup.h"
#include "base/file.h"

static const char *const names[] = {".hidden", "..dots", "one", "two"};

/* A bit for each of the names; what else is there fails. */
static unsigned names_seen(int fd)
{
    _cleanup_(closedir) DIR *dir = NULL;
    const char *name;
    unsigned seen = 0;
    int r = dir_stream(fd, "here", &dir, NULL);
    while (r == 0 && (r = dir_next(dir, "here", &name, NULL)) > 0) {
        size_t i = 0;
        while (i < ARRAY_SIZE(names) && strcmp(names[i], name) != 0)
            i++;
        assert_true(i < ARRAY_SIZE(names));
        assert_false(seen & 1u << i);
        seen |= 1u << i;
        r = 0;
    }
    assert_int_equal(r, 0);
    return seen;
}

/* All but the directory itself and its parent, and again from the start by another stream. */
static void test_names(void **state)
{
    char path[] = "/tmp/tine-file-XXXXXX";
    assert_non_null(mkdtemp(path));
    _cleanup_(close) int fd = dir_open(AT_FDCWD, path, NULL);
    assert_true(fd >= 0);
    assert_int_equal(names_seen(fd), 0);
    for (size_t i = 0; i < ARRAY_SIZE(names); i++)
        assert_int_equal(mkdirat(fd, names[i], 0700), 0);
    assert_int_equal(names_seen(fd), 0xf);
    assert_int_equal(names_seen(fd), 0xf);
    assert_int_equal(tree_remove(AT_FDCWD, path, NULL), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_names),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
