/* SPDX-License-Identifier: Apache-2.0 */
/* Sets of pages against plain arrays. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "vmm/page_set.h"

#define PAGES 1000u /* no multiple of 64 */

static void expect(const struct page_set *set, const bool *model)
{
    for (uint64_t page = 0; page < PAGES; page++) {
        if (page_set_has(set, page) != model[page])
            fail_msg("page %llu is %s the set", (unsigned long long)page,
                     model[page] ? "not in" : "in");
    }
}

static void test_not_made(void **context)
{
    struct page_set set = {0};
    assert_false(page_set_made(&set));
    assert_false(page_set_has(&set, 12345));
    page_set_clear(&set);
    page_set_free(&set);
}

static void test_random(void **context)
{
    struct page_set set = {0};
    struct error err = {0};
    bool model[PAGES] = {false};
    unsigned seed = 17;
    assert_int_equal(page_set_make(&set, PAGES, &err), 0);
    assert_true(page_set_made(&set));
    expect(&set, model);
    for (unsigned step = 0; step < 300; step++) {
        uint64_t first = (uint64_t)rand_r(&seed) % PAGES;
        uint64_t count = (uint64_t)rand_r(&seed) % (step % 10 ? 4 : 300);
        count = count < PAGES - first ? count : PAGES - first;
        page_set_add(&set, first, count);
        memset(model + first, true, count);
        expect(&set, model);
        if (step % 50 == 49) {
            page_set_clear(&set);
            memset(model, 0, sizeof(model));
            expect(&set, model);
        }
    }
    page_set_free(&set);
    assert_false(page_set_made(&set));
}

/* KVM's bitmaps begin at a region, whose first page is a multiple of 64. */
static void test_merge(void **context)
{
    struct page_set set = {0};
    struct error err = {0};
    bool model[PAGES] = {false};
    const uint64_t bitmap[] = {1ull << 63 | 1, 0, 5};
    assert_int_equal(page_set_make(&set, PAGES, &err), 0);
    page_set_add(&set, 130, 1);
    page_set_merge(&set, 128, bitmap, 131);
    static const uint64_t in[] = {128, 130, 191, 256, 258};
    for (size_t i = 0; i < sizeof(in) / sizeof(in[0]); i++)
        model[in[i]] = true;
    expect(&set, model);
    /* Up to the very end. */
    const uint64_t last[] = {1ull << 39};
    page_set_merge(&set, 960, last, 40);
    model[PAGES - 1] = true;
    expect(&set, model);
    page_set_free(&set);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_not_made),
        cmocka_unit_test(test_random),
        cmocka_unit_test(test_merge),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
