/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdio.h>
#include <string.h>

#include "instance/smaps.h"

#define MIB (1ull << 20)

#define VALUES(dirty)                                                                         \
    "Size:                 64 kB\nKernelPageSize:        4 kB\nRss:                 999 kB\n" \
    "Private_Clean:       77 kB\nPrivate_Dirty:       " dirty " kB\nAnonymous: 5 kB\n"        \
    "VmFlags: rd wr mr mw me ac nr\n"

#define BINARY                                                           \
    "55d0c0000000-55d0c0010000 r-xp 00001000 08:01 42                  " \
    "/usr/bin/tine-vmm\n" VALUES("0")
#define HEAP "55d0c1000000-55d0c1021000 rw-p 00000000 00:00 0                  [heap]\n" VALUES("8")
#define STACK \
    "7ffd00000000-7ffd00021000 rw-p 00000000 00:00 0                  [stack]\n" VALUES("4")
/* 8 MiB of a thread's stack. */
#define THREAD "7f0000000000-7f0000800000 rw-p 00000000 00:00 0 \n" VALUES("16")
/* 64 MiB. */
#define ANONYMOUS "7f1000000000-7f1004000000 rw-p 00000000 00:00 0 \n" VALUES("1024")
#define NAMED                                                                                      \
    "7f1000000000-7f1004000000 rw-p 00000000 00:00 0                  [anon:guest]\n" VALUES("102" \
                                                                                             "4")
#define FROM_FILE                                                                                \
    "7f2000000000-7f2004000000 rw-p 00000000 fe:01 1234   /run/tine/guest/base/memory\n" VALUES( \
        "2048")
#define DELETED                                                                      \
    "7f2000000000-7f2004000000 rw-p 00000000 fe:01 1234   /run/a b/snapshot/memory " \
    "(deleted)\n" VALUES("2048") "Private_Hugetlb:      100 kB\n"
#define HALF_FROM_FILE                                                                           \
    "7f2000000000-7f2002000000 rw-p 00000000 fe:01 1234   /run/tine/guest/base/memory\n" VALUES( \
        "2048")
/* 32 MiB. */
#define BALLOON "7f2002000000-7f2004000000 rw-p 00000000 00:00 0 \n" VALUES("32")

static const struct {
    const char *text;
    uint64_t private_kib, guest_kib;
} cases[] = {
    {"", 0, 0},
    {"nonsense\nPrivate_Dirty: 5 kB\n", 0, 0},
    {BINARY HEAP THREAD ANONYMOUS STACK, 1052, 1024},
    {BINARY HEAP THREAD NAMED STACK, 1052, 1024},
    {BINARY HEAP THREAD FROM_FILE STACK, 2076, 2048},
    {BINARY HEAP THREAD DELETED STACK, 2176, 2148},
    {BINARY HEAP THREAD HALF_FROM_FILE BALLOON STACK, 2108, 2080},
};

static void test_cases(void **state)
{
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct smaps smaps;
        FILE *file = fmemopen((void *)cases[i].text, strlen(cases[i].text) + 1, "r");
        assert_non_null(file);
        assert_int_equal(smaps_read(file, 64 * MIB, &smaps, NULL), 0);
        assert_int_equal(smaps.private_bytes >> 10, cases[i].private_kib);
        assert_int_equal(smaps.guest_bytes >> 10, cases[i].guest_kib);
        fclose(file);
    }
}

static void test_this_process(void **state)
{
    struct smaps smaps;
    FILE *file = fopen("/proc/self/smaps", "re");
    assert_int_equal(smaps_read(file, 0, &smaps, NULL), 0);
    assert_true(smaps.private_bytes > 0);
    assert_int_equal(smaps.guest_bytes, 0);
    fclose(file);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_cases),
                                       cmocka_unit_test(test_this_process)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
