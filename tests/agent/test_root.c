/* SPDX-License-Identifier: Apache-2.0 */
/* What the kernel's command line says of the root. The root itself is for the end-to-end tests. */
#include "fixture.h"

#include <string.h>

#include "agent/guest/root.h"
#include "base/cleanup.h"

static void test_option(void **state)
{
    static const struct {
        const char *cmdline, *value; /* NULL: none */
    } cases[] = {
        {"tine.root=/dev/vda", "/dev/vda"},
        {"console=ttyS0 tine.root=/dev/vda tine.overlay=/dev/vdb\n", "/dev/vda"},
        {"tine.root=/dev/vda tine.root=/dev/vdc", "/dev/vdc"},
        {"  tine.root=x  ", "x"},
        {"", NULL},
        {" \n", NULL},
        {"tine.root", NULL},
        {"tine.root=", NULL},
        {"tine.rooted=/dev/vda", NULL},
        {"not.tine.root=/dev/vda", NULL},
        {"tine.overlay=/dev/vdb", NULL},
        {"tine.root=12345678901", "12345678901"},
        {"tine.root=123456789012", NULL}, /* does not fit */
    };
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        char value[12] = "";
        bool found = root_option(cases[i].cmdline, "tine.root", value, sizeof(value));
        if (found != (cases[i].value != NULL) || strcmp(value, found ? cases[i].value : "") != 0)
            fail_msg("\"%s\": %d \"%s\"", cases[i].cmdline, found, value);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_option)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
