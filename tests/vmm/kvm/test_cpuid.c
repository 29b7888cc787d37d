/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/cleanup.h"
#include "vmm/kvm/cpuid.h"

#define ALL 0xffffffffu

/* A host that claims everything, with leaves of both vendors. */
static struct kvm_cpuid2 *host(void)
{
    static const struct kvm_cpuid_entry2 entries[] = {
        {.function = 0, .eax = 0x1f, .ebx = 1},
        {.function = 1, .eax = ALL, .ebx = ALL, .ecx = ALL & ~(1u << 24), .edx = ALL},
        {.function = 4, .index = 0, .flags = 1, .eax = 1 << 5 | 1, .ebx = ALL},
        {.function = 4, .index = 3, .flags = 1, .eax = 3 << 5 | 3, .ebx = ALL},
        {.function = 4, .index = 4, .flags = 1},
        {.function = 7, .index = 0, .flags = 1, .ecx = ALL},
        {.function = 7, .index = 1, .flags = 1, .ecx = ALL},
        {.function = 0xa, .eax = ALL, .ebx = ALL, .ecx = ALL, .edx = ALL},
        {.function = 0xb, .index = 0, .flags = 1, .edx = 99},
        {.function = 0xb, .index = 5, .flags = 1, .edx = 99},
        {.function = 0x1f, .index = 0, .flags = 1, .edx = 99},
        {.function = 0x40000000, .eax = 0x40000001, .ebx = 0x4b4d564b},
        {.function = 0x80000001, .ecx = ALL},
        {.function = 0x80000008, .eax = 0x3030, .ecx = ALL},
        {.function = 0x8000001d, .index = 0, .flags = 1, .eax = 1 << 5 | 1},
        {.function = 0x8000001d, .index = 3, .flags = 1, .eax = 3 << 5 | 3},
        {.function = 0x8000001e, .eax = ALL, .ebx = ALL, .ecx = ALL},
    };
    struct kvm_cpuid2 *cpuid = calloc(1, sizeof(*cpuid) + sizeof(entries));
    assert_non_null(cpuid);
    cpuid->nent = ARRAY_SIZE(entries);
    memcpy(cpuid->entries, entries, sizeof(entries));
    return cpuid;
}

static const struct kvm_cpuid_entry2 *find(const struct kvm_cpuid2 *cpuid, uint32_t function,
                                           uint32_t index)
{
    for (uint32_t i = 0; i < cpuid->nent; i++) {
        if (cpuid->entries[i].function == function && cpuid->entries[i].index == index)
            return &cpuid->entries[i];
    }
    fail_msg("leaf 0x%x/%u is missing", function, index);
    return NULL;
}

static unsigned bits(uint32_t value, unsigned low, unsigned width)
{
    return value >> low & ((1u << width) - 1);
}

static struct kvm_cpuid2 *guest(unsigned index, unsigned count, bool smt, bool deadline)
{
    _cleanup_(free) struct kvm_cpuid2 *supported = host();
    const struct cpuid_topology topology = {
        .index = index, .count = count, .smt = smt, .tsc_deadline = deadline};
    struct kvm_cpuid2 *cpuid = cpuid_normalise(supported, &topology);
    assert_non_null(cpuid);
    return cpuid;
}

static void test_features(void **context)
{
    (void)context;
    _cleanup_(free) struct kvm_cpuid2 *cpuid = guest(3, 4, false, true);
    const struct kvm_cpuid_entry2 *one = find(cpuid, 1, 0);
    assert_int_equal(bits(one->ebx, 24, 8), 3);
    assert_int_equal(bits(one->ebx, 16, 8), 4);
    assert_int_equal(bits(one->ebx, 8, 8), 0xff);
    assert_int_equal(bits(one->ecx, 31, 1), 1);
    assert_int_equal(bits(one->ecx, 24, 1), 1);
    assert_int_equal(bits(one->ecx, 15, 1), 0);
    assert_int_equal(bits(one->ecx, 5, 1), 0);
    assert_int_equal(bits(one->edx, 28, 1), 1);
    assert_int_equal(bits(find(cpuid, 7, 0)->ecx, 5, 1), 0);
    assert_int_equal(bits(find(cpuid, 7, 1)->ecx, 5, 1), 1);
    assert_int_equal(find(cpuid, 0xa, 0)->eax, 0);
    assert_int_equal(find(cpuid, 0x40000000, 0)->ebx, 0x4b4d564b);
    assert_int_equal(bits(find(cpuid, 0x80000001, 0)->ecx, 2, 1), 0);
    _cleanup_(free) struct kvm_cpuid2 *single = guest(0, 1, false, false);
    one = find(single, 1, 0);
    assert_int_equal(bits(one->edx, 28, 1), 0);
    assert_int_equal(bits(one->ecx, 24, 1), 0);
    assert_int_equal(bits(one->ebx, 16, 8), 1);
}

static void expect_levels(const struct kvm_cpuid2 *cpuid, uint32_t leaf, unsigned index,
                          unsigned threads_shift, unsigned threads, unsigned shift, unsigned count)
{
    const struct kvm_cpuid_entry2 *smt = find(cpuid, leaf, 0);
    const struct kvm_cpuid_entry2 *core = find(cpuid, leaf, 1);
    const struct kvm_cpuid_entry2 *end = find(cpuid, leaf, 2);
    assert_int_equal(smt->eax, threads_shift);
    assert_int_equal(smt->ebx, threads);
    assert_int_equal(smt->ecx, 1 << 8);
    assert_int_equal(core->eax, shift);
    assert_int_equal(core->ebx, count);
    assert_int_equal(core->ecx, 2 << 8 | 1);
    assert_int_equal(end->ebx, 0);
    assert_int_equal(end->ecx, 2);
    assert_int_equal(smt->edx, index);
    assert_int_equal(core->edx, index);
    assert_int_equal(end->edx, index);
}

static void test_topology(void **context)
{
    (void)context;
    _cleanup_(free) struct kvm_cpuid2 *cores = guest(5, 6, false, true);
    expect_levels(cores, 0xb, 5, 0, 1, 3, 6);
    expect_levels(cores, 0x1f, 5, 0, 1, 3, 6);
    for (uint32_t i = 0; i < cores->nent; i++)
        assert_false(cores->entries[i].function == 0xb && cores->entries[i].index == 5);
    _cleanup_(free) struct kvm_cpuid2 *threads = guest(5, 8, true, true);
    expect_levels(threads, 0xb, 5, 1, 2, 3, 8);
    _cleanup_(free) struct kvm_cpuid2 *single = guest(0, 1, true, true);
    expect_levels(single, 0xb, 0, 0, 1, 0, 1);
    _cleanup_(free) struct kvm_cpuid2 *most = guest(31, 32, false, true);
    expect_levels(most, 0xb, 31, 0, 1, 5, 32);
}

static void test_caches(void **context)
{
    (void)context;
    _cleanup_(free) struct kvm_cpuid2 *cpuid = guest(1, 4, true, true);
    assert_int_equal(bits(find(cpuid, 4, 0)->eax, 14, 12), 1); /* L1: two threads */
    assert_int_equal(bits(find(cpuid, 4, 0)->eax, 26, 6), 1);  /* two cores */
    assert_int_equal(bits(find(cpuid, 4, 3)->eax, 14, 12), 3); /* L3: all */
    assert_int_equal(find(cpuid, 4, 4)->eax, 0);
    assert_int_equal(bits(find(cpuid, 0x8000001d, 0)->eax, 14, 12), 1);
    assert_int_equal(bits(find(cpuid, 0x8000001d, 3)->eax, 14, 12), 3);
}

static void test_amd(void **context)
{
    (void)context;
    _cleanup_(free) struct kvm_cpuid2 *cpuid = guest(5, 6, true, true);
    assert_int_equal(bits(find(cpuid, 0x80000008, 0)->ecx, 0, 8), 5);
    assert_int_equal(bits(find(cpuid, 0x80000008, 0)->ecx, 12, 4), 3);
    assert_int_equal(find(cpuid, 0x8000001e, 0)->eax, 5);
    assert_int_equal(bits(find(cpuid, 0x8000001e, 0)->ebx, 0, 8), 2);
    assert_int_equal(bits(find(cpuid, 0x8000001e, 0)->ebx, 8, 8), 1);
    assert_int_equal(find(cpuid, 0x8000001e, 0)->ecx, 0);
}

static void test_full_table(void **context)
{
    (void)context;
    _cleanup_(free) struct kvm_cpuid2 *full =
        calloc(1, sizeof(*full) + CPUID_MAX_ENTRIES * sizeof(struct kvm_cpuid_entry2));
    assert_non_null(full);
    full->nent = CPUID_MAX_ENTRIES;
    for (uint32_t i = 0; i < CPUID_MAX_ENTRIES; i++)
        full->entries[i].function = i == 7 ? 0xb : 0x80000100 + i;
    const struct cpuid_topology topology = {.count = 2};
    _cleanup_(free) struct kvm_cpuid2 *cpuid = cpuid_normalise(full, &topology);
    assert_non_null(cpuid);
    assert_int_equal(cpuid->nent, CPUID_MAX_ENTRIES);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_features),   cmocka_unit_test(test_topology),
        cmocka_unit_test(test_caches),     cmocka_unit_test(test_amd),
        cmocka_unit_test(test_full_table),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
