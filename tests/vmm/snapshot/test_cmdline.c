/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/cleanup.h"
#include "vmm/cmdline.h"

struct sample {
    const char *given;
    const char *partuuid;
    bool root, read_only;
    const char *expected;
};

static void check(const struct sample *sample)
{
    struct vm_config config = {0};
    config.boot.boot_args = (char *)sample->given;
    config.drive_count = 2;
    config.drives[1].is_root_device = sample->root;
    config.drives[1].is_read_only = sample->read_only;
    config.drives[1].partuuid = (char *)sample->partuuid;
    char cmdline[VM_CMDLINE_MAX];
    struct error err = {0};
    assert_int_equal(cmdline_build(&config, cmdline, &err), 0);
    assert_string_equal(cmdline, sample->expected);
}

static void test_what_is_appended(void **context)
{
    (void)context;
    static const struct sample samples[] = {
        {NULL, NULL, false, false, CMDLINE_DEFAULT " pci=off"},
        {"", NULL, false, false, "pci=off"},
        {"quiet", NULL, false, false, "quiet pci=off"},
        {"quiet pci=off", NULL, false, false, "quiet pci=off"},
        {"pci=off quiet", NULL, false, false, "pci=off quiet"},
        {"pci=offset", NULL, false, false, "pci=offset pci=off"},
        {"  xpci=off ", NULL, false, false, "  xpci=off  pci=off"},
        {"quiet", NULL, true, true, "quiet pci=off root=/dev/vda ro"},
        {"quiet", NULL, true, false, "quiet pci=off root=/dev/vda rw"},
        {"quiet", "1234-01", true, false, "quiet pci=off root=PARTUUID=1234-01 rw"},
        {"quiet", "1234-01", false, false, "quiet pci=off"},
    };
    for (size_t i = 0; i < ARRAY_SIZE(samples); i++)
        check(&samples[i]);
}

static void test_too_long(void **context)
{
    (void)context;
    char args[VM_CMDLINE_MAX + 1];
    char cmdline[VM_CMDLINE_MAX];
    struct vm_config config = {.boot = {.boot_args = args}};
    struct error err = {0};
    memset(args, 'a', sizeof(args));
    /* With " pci=off" behind it the longest that fits, then one more. */
    args[VM_CMDLINE_MAX - 1 - 8] = '\0';
    assert_int_equal(cmdline_build(&config, cmdline, &err), 0);
    assert_int_equal(strlen(cmdline), VM_CMDLINE_MAX - 1);
    args[VM_CMDLINE_MAX - 1 - 8] = 'a';
    args[VM_CMDLINE_MAX - 8] = '\0';
    assert_true(cmdline_build(&config, cmdline, &err) < 0);
    assert_int_equal(err.code, ERROR_INVALID);
    args[VM_CMDLINE_MAX - 8] = 'a';
    args[VM_CMDLINE_MAX] = '\0';
    assert_true(cmdline_build(&config, cmdline, &err) < 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_what_is_appended),
        cmocka_unit_test(test_too_long),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
