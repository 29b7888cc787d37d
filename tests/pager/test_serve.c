/* SPDX-License-Identifier: Apache-2.0 */
/* A VM's memory through the pager: every page the right one, whatever the VM does with it. */
#include <linux/userfaultfd.h>
#include <pthread.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/clock.h"
#include "fixture.h"

#define PAGES 2048u

static int setup(void **state)
{
    struct place *place = calloc(1, sizeof(*place));
    assert_non_null(place);
    place_open(place);
    image_make(place, "memory", PAGES);
    pager_begin(place, "TINE_PAGER", "0.1.0");
    *state = place;
    return 0;
}

static int teardown(void **state)
{
    place_close(*state);
    free(*state);
    return 0;
}

static void test_every_page(void **state)
{
    struct place *place = *state;
    struct vm vm;
    vm_begin(&vm, place, "a", PAGES, 1);
    assert_int_equal(vm_wrong_pages(&vm), 0);
    assert_true(session_counter(place, "a", "zero_pages") >= PAGES / 7);
    assert_true(session_counter(place, "a", "faults") < PAGES / 2);
    vm_close(&vm);
}

static void *touch_all(void *argument)
{
    return (void *)(uintptr_t)vm_wrong_pages(argument);
}

static void test_regions_and_threads(void **state)
{
    struct place *place = *state;
    struct vm vm;
    pthread_t threads[8];
    vm_begin(&vm, place, "a", PAGES, 5);
    for (int i = 0; i < 8; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, touch_all, &vm), 0);
    for (int i = 0; i < 8; i++) {
        void *wrong = NULL;
        pthread_join(threads[i], &wrong);
        assert_null(wrong);
    }
    vm_close(&vm);
}

static void remove_pages(const struct vm *vm, uint64_t page, uint64_t count)
{
    assert_int_equal(madvise(vm_page(vm, page), count * PAGE, MADV_DONTNEED), 0);
}

static void test_removed_pages_are_zero(void **state)
{
    struct place *place = *state;
    struct vm vm;
    vm_begin(&vm, place, "a", PAGES, 2);
    remove_pages(&vm, 100, 50); /* never touched before */
    assert_true(page_is_image(vm_page(&vm, 600), 600));
    remove_pages(&vm, 600, 4);
    *vm_page(&vm, 610) = 1; /* written, then given back */
    remove_pages(&vm, 610, 1);
    for (uint64_t page = 100; page < 150; page++)
        assert_true(page_is_zeros(vm_page(&vm, page)));
    for (uint64_t page = 600; page < 604; page++)
        assert_true(page_is_zeros(vm_page(&vm, page)));
    assert_true(page_is_zeros(vm_page(&vm, 610)));
    assert_true(page_is_image(vm_page(&vm, 99), 99) && page_is_image(vm_page(&vm, 150), 150));
    memset(vm_page(&vm, 120), 7, PAGE); /* used again, given back again */
    remove_pages(&vm, 120, 1);
    assert_true(page_is_zeros(vm_page(&vm, 120)));
    vm_close(&vm);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_every_page, setup, teardown),
        cmocka_unit_test_setup_teardown(test_regions_and_threads, setup, teardown),
        cmocka_unit_test_setup_teardown(test_removed_pages_are_zero, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
