/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "base/id.h"

static const char characters[] = "abcdefghijklmnopqrstuvwxyz0123456789";

static void test_ids(void **state)
{
    char id[ID_LENGTH + 1], before[ID_LENGTH + 1] = "";
    for (int i = 0; i < 1000; i++) {
        assert_int_equal(id_make(id, NULL), 0);
        assert_int_equal(strlen(id), ID_LENGTH);
        assert_in_range(id[0], 'a', 'z');
        assert_int_equal(strspn(id, characters), ID_LENGTH);
        assert_string_not_equal(id, before);
        memcpy(before, id, sizeof(id));
    }
}

/* Each of the 36 comes, and nothing behind the length is touched. */
static void test_characters(void **state)
{
    char text[4001];
    text[4000] = '!';
    assert_int_equal(id_characters(text, 4000, NULL), 0);
    assert_int_equal(text[4000], '!');
    text[4000] = '\0';
    assert_int_equal(strspn(text, characters), 4000);
    for (size_t i = 0; characters[i]; i++)
        assert_non_null(strchr(text, characters[i]));
    assert_int_equal(id_characters(text, 0, NULL), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_ids),
        cmocka_unit_test(test_characters),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
