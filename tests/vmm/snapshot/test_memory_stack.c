/* SPDX-License-Identifier: Apache-2.0 */
/* Guest memory out of a stack, and the layers that are made of it: chains of both, page by page
 * against what memory was. */
#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/cleanup.h"
#include "base/file.h"
#include "pages.h"
#include "stack/layer_stack.h"
#include "vmm/memory.h"

#define MIB   (1ull << 20)
#define GIB   (1ull << 30)
#define PAGE  ((uint64_t)GUEST_PAGE_SIZE)
#define SIZE  (16 * MIB)
#define PAGES (SIZE / PAGE)

/* An image in a directory of its own. */
struct image {
    char path[40];
    int dir;
    unsigned layers;
    bool scans; /* PAGEMAP_SCAN, where the kernel has it */
};

static void set_failpoint(const struct image *image, const char *name)
{
    char text[128];
    snprintf(text, sizeof(text), "%s%s", name, image->scans ? "" : ",vmm-pagemap-scan=ENOTTY");
    setenv("TINE_FAILPOINT", text[0] == ',' ? text + 1 : text, 1);
}

/* Page n holds n + 1 in every word, but every fifth is a hole. */
static void base_make(const struct image *image, uint64_t size)
{
    uint64_t page[PAGE / 8];
    _cleanup_(close) int fd = openat(image->dir, "memory", O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
    assert_true(fd >= 0);
    assert_int_equal(ftruncate(fd, (off_t)size), 0);
    for (uint64_t n = 0; n < (size < SIZE ? size : SIZE) / PAGE; n++) {
        for (size_t i = 0; i < PAGE / 8; i++)
            page[i] = n + 1;
        if (n % 5 != 4)
            assert_int_equal(pwrite(fd, page, PAGE, (off_t)(n * PAGE)), PAGE);
    }
}

static struct image *image_new(uint64_t size, bool scans)
{
    struct image *image = calloc(1, sizeof(*image));
    assert_non_null(image);
    image->scans = scans;
    strcpy(image->path, "/var/tmp/tine-test-XXXXXX");
    assert_non_null(mkdtemp(image->path));
    image->dir = open(image->path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    assert_true(image->dir >= 0);
    base_make(image, size);
    set_failpoint(image, "");
    return image;
}

static int setup(void **state)
{
    *state = image_new(SIZE, true);
    return 0;
}

static int setup_without_scan(void **state)
{
    *state = image_new(SIZE, false);
    return 0;
}

static int teardown(void **state)
{
    struct image *image = *state;
    struct error err = {0};
    unsetenv("TINE_FAILPOINT");
    close(image->dir);
    int r = tree_remove(AT_FDCWD, image->path, &err);
    free(image);
    return r;
}

#define EITHER_WAY(name)                                                   \
    cmocka_unit_test_setup_teardown(name, setup, teardown),                \
    {                                                                      \
#        name ", by the entries", name, setup_without_scan, teardown, NULL \
    }

static struct layer_stack *stack_of(const struct image *image)
{
    struct error err = {0};
    const struct stack_file base = {image->dir, "memory", "the image"};
    struct layer_stack *stack = layer_stack_open(&base, &err);
    if (!stack)
        fail_msg("%s", err.message);
    assert_int_equal(layer_stack_depth(stack), image->layers);
    return stack;
}

static struct guest_memory map(const struct image *image, uint64_t size)
{
    struct guest_memory memory;
    struct error err = {0};
    _cleanup_(layer_stack) struct layer_stack *stack = stack_of(image);
    if (guest_memory_map_stack(&memory, size, stack, &err) < 0)
        fail_msg("%s", err.message);
    return memory;
}

static int write_layer(struct image *image, const struct guest_memory *memory, struct error *err)
{
    char name[32];
    snprintf(name, sizeof(name), "memory.%u", image->layers + 1);
    _cleanup_(close) int fd =
        openat(image->dir, name, O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    assert_true(fd >= 0);
    int r = guest_memory_layer(memory, fd, name, NULL, err);
    if (r < 0)
        assert_int_equal(unlinkat(image->dir, name, 0), 0);
    image->layers += r == 0;
    return r;
}

/* Adds a layer of it, and tells what that holds. */
static struct layer_info save(struct image *image, const struct guest_memory *memory)
{
    struct error err = {0};
    struct layer_info info;
    if (write_layer(image, memory, &err) < 0)
        fail_msg("%s", err.message);
    _cleanup_(layer_stack) struct layer_stack *stack = stack_of(image);
    layer_stack_describe(stack, image->layers, &info);
    assert_int_equal(layer_stack_verify(stack, &err), 0);
    return info;
}

/* Saved and mapped again it is what it was. */
static struct layer_info save_and_map(struct image *image, struct guest_memory *memory)
{
    _cleanup_(free) uint8_t *before = remember(memory);
    const uint64_t size = memory->size;
    struct layer_info info = save(image, memory);
    assert_memory_equal(memory->regions[0].host, before, size);
    guest_memory_release(memory);
    *memory = map(image, size);
    assert_memory_equal(memory->regions[0].host, before, size);
    return info;
}

static void test_holds_what_changed(void **context)
{
    struct image *image = *context;
    struct guest_memory memory = map(image, SIZE);
    assert_int_equal(save_and_map(image, &memory).runs, 0);
    for (uint64_t n = 100; n < 900; n++) /* more than one batch */
        memset(page_of(&memory, n), 0x5a, 8);
    memset(page_of(&memory, 1000), 0, 3 * PAGE);
    *page_of(&memory, PAGES - 1) = 7;
    assert_int_equal(guest_memory_discard(&memory, 2000 * PAGE, 64 * PAGE), 0);
    *page_of(&memory, 2010) = 9;
    struct layer_info info = save_and_map(image, &memory);
    assert_int_equal(info.data_pages, 800 + 1 + 1);
    assert_int_equal(info.zero_pages, 3 + 63);
    assert_int_equal(info.runs, 1 + 1 + 3 + 1);
    /* Nothing of that differs any more. */
    (void)*(volatile uint8_t *)page_of(&memory, 500);
    assert_int_equal(save_and_map(image, &memory).runs, 0);
    *page_of(&memory, 2020) = 1; /* what was zero is used again */
    *page_of(&memory, 500) = 2;
    assert_int_equal(guest_memory_discard(&memory, 600 * PAGE, 2 * PAGE), 0);
    info = save_and_map(image, &memory);
    assert_int_equal(info.data_pages, 2);
    assert_int_equal(info.zero_pages, 2);
    guest_memory_release(&memory);
}

/* Zeros of a layer that are given back again are not told once more. */
static void test_zeros_are_remembered(void **context)
{
    struct image *image = *context;
    struct guest_memory memory = map(image, SIZE);
    assert_int_equal(guest_memory_discard(&memory, 0, 8 * MIB), 0);
    assert_int_equal(save_and_map(image, &memory).zero_pages, PAGES / 2);
    assert_int_equal(guest_memory_discard(&memory, 4 * MIB, 8 * MIB), 0);
    struct layer_info info = save_and_map(image, &memory);
    assert_int_equal(info.zero_pages, PAGES / 4);
    assert_int_equal(info.data_pages, 0);
    guest_memory_release(&memory);
}

/* A failure leaves memory as it was, and the next layer is whole. */
static void test_failures(void **context)
{
    static const char *const points[] = {"vmm-memory-data=ENOSPC", "stack-layer-data=ENOSPC",
                                         "stack-layer-index=ENOSPC", "stack-layer-sync=EIO"};
    struct image *image = *context;
    struct guest_memory memory = map(image, SIZE);
    struct error err = {0};
    memset(page_of(&memory, 9), 1, 20 * PAGE);
    _cleanup_(free) uint8_t *before = remember(&memory);
    for (size_t i = 0; i < ARRAY_SIZE(points); i++) {
        set_failpoint(image, points[i]);
        assert_int_equal(write_layer(image, &memory, &err),
                         strstr(points[i], "ENOSPC") ? -ENOSPC : -EIO);
        assert_non_null(strstr(err.message, "memory.1"));
        assert_memory_equal(memory.regions[0].host, before, SIZE);
    }
    set_failpoint(image, "");
    assert_int_equal(save_and_map(image, &memory).data_pages, 20);
    guest_memory_release(&memory);
}

/* A VM that was booted has no base: its layer is all of it. */
static void test_booted(void **context)
{
    struct image *image = *context;
    struct guest_memory memory;
    struct error err = {0};
    assert_int_equal(guest_memory_create(&memory, SIZE, &err), 0);
    *page_of(&memory, 3) = 1;
    struct layer_info info = save_and_map(image, &memory);
    assert_int_equal(info.data_pages, 1);
    assert_int_equal(info.zero_pages, PAGES - 1);
    guest_memory_release(&memory);
}

/* One extent on both sides of the gap below 4 GiB, and regions that begin within one. */
static void test_beyond_the_gap(void **context)
{
    struct image *image = *context;
    const uint64_t size = 3 * GIB + 2 * MIB, low = GUEST_MMIO_GAP_START, high = GUEST_MMIO_GAP_END;
    assert_int_equal(unlinkat(image->dir, "memory", 0), 0);
    base_make(image, size);
    struct guest_memory memory = map(image, size);
    assert_int_equal(guest_write(&memory, low - 4, "end", 4), 0);
    assert_int_equal(guest_write(&memory, high, "begin", 6), 0);
    assert_int_equal(guest_memory_discard(&memory, high + MIB, MIB), 0);
    struct layer_info info = save(image, &memory);
    assert_int_equal(info.data_pages, 2);
    assert_int_equal(info.zero_pages, 256);
    guest_memory_release(&memory);
    memory = map(image, size);
    char text[8];
    assert_int_equal(guest_read(&memory, low - 4, text, 4), 0);
    assert_string_equal(text, "end");
    assert_int_equal(guest_read(&memory, high, text, 6), 0);
    assert_string_equal(text, "begin");
    assert_int_equal(guest_write(&memory, high, "again", 6), 0);
    assert_int_equal(save(image, &memory).data_pages, 1);
    guest_memory_release(&memory);
}

/* Every other page in a layer: each page is a mapping. */
static int write_comb(struct image *image, uint64_t pages, uint64_t teeth)
{
    struct error err = {0};
    uint8_t page[PAGE];
    memset(page, 0xcc, sizeof(page));
    _cleanup_(close) int fd =
        openat(image->dir, "memory.1", O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    _cleanup_(layer_writer) struct layer_writer *writer =
        layer_writer_begin(fd, "memory.1", pages * PAGE, &err);
    assert_non_null(writer);
    for (uint64_t i = 0; i < teeth; i++)
        assert_int_equal(layer_writer_add(writer, 2 * i + 1, page, 1, &err), 0);
    image->layers = 1;
    return layer_writer_finish(writer, NULL, &err);
}

static void test_limit_of_mappings(void **context)
{
    struct image *image = *context;
    const uint64_t size = 128 * MIB;
    struct guest_memory memory;
    struct error err = {0};
    assert_int_equal(unlinkat(image->dir, "memory", 0), 0);
    base_make(image, size);
    assert_int_equal(write_comb(image, size / PAGE, LAYER_STACK_MAPPINGS / 2), 0);
    _cleanup_(layer_stack) struct layer_stack *many = stack_of(image);
    assert_int_equal(layer_stack_extents(many), LAYER_STACK_MAPPINGS + 1);
    assert_int_equal(guest_memory_map_stack(&memory, size, many, &err), -E2BIG);
    assert_non_null(strstr(err.message, "the image and its layers lie in 8193 pieces"));
    assert_int_equal(write_comb(image, size / PAGE, LAYER_STACK_MAPPINGS / 2 - 1), 0);
    memory = map(image, size);
    assert_int_equal(*page_of(&memory, 1), 0xcc);
    assert_int_equal(*page_of(&memory, 2), 3);
    assert_int_equal(save(image, &memory).runs, 0);
    guest_memory_release(&memory);
}

static void test_wrong_size(void **context)
{
    struct image *image = *context;
    struct guest_memory memory;
    struct error err = {0};
    _cleanup_(layer_stack) struct layer_stack *stack = stack_of(image);
    assert_int_equal(guest_memory_map_stack(&memory, 2 * SIZE, stack, &err), -EINVAL);
    assert_non_null(strstr(err.message, "the image"));
}

static void change_at_random(struct guest_memory *memory, unsigned *seed)
{
    uint64_t page = (uint64_t)rand_r(seed) % PAGES;
    uint64_t count = 1 + (uint64_t)rand_r(seed) % (rand_r(seed) % 7 ? 8 : 200);
    count = count < PAGES - page ? count : PAGES - page;
    switch (rand_r(seed) % 5) {
    case 0:
        assert_int_equal(guest_memory_discard(memory, page * PAGE, count * PAGE), 0);
        break;
    case 1:
        memset(page_of(memory, page), 0, count * PAGE);
        break;
    case 2: /* read only */
        for (uint64_t i = 0; i < count; i++)
            (void)*(volatile uint8_t *)page_of(memory, page + i);
        break;
    default:
        memset(page_of(memory, page), rand_r(seed) & 0xff, count * PAGE);
    }
}

/* A chain of layers over layers, some of them failing first, now and then made one file. */
static void test_random_chain(void **context)
{
    struct image *image = *context;
    struct guest_memory memory = map(image, SIZE);
    struct error err = {0};
    struct stack_result result;
    unsigned seed = 20260701;
    for (unsigned round = 1; round <= 40; round++) {
        for (unsigned step = 0; step < 25; step++)
            change_at_random(&memory, &seed);
        if (round % 5 == 0) {
            set_failpoint(image, "vmm-memory-data=EIO");
            (void)write_layer(image, &memory, &err);
            set_failpoint(image, "");
        }
        save_and_map(image, &memory);
        if (image->layers < 12)
            continue;
        const struct stack_file base = {image->dir, "memory", "the image"};
        const struct stack_file flat = {image->dir, "flat", "flat"};
        assert_int_equal(layer_stack_flatten(&base, &flat, NULL, &result, &err), 0);
        _cleanup_(free) uint8_t *before = remember(&memory);
        guest_memory_release(&memory);
        assert_int_equal(renameat(image->dir, "flat", image->dir, "memory"), 0);
        for (; image->layers > 0; image->layers--) {
            char name[32];
            snprintf(name, sizeof(name), "memory.%u", image->layers);
            assert_int_equal(unlinkat(image->dir, name, 0), 0);
        }
        memory = map(image, SIZE);
        assert_memory_equal(memory.regions[0].host, before, SIZE);
    }
    guest_memory_release(&memory);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        EITHER_WAY(test_holds_what_changed), EITHER_WAY(test_zeros_are_remembered),
        EITHER_WAY(test_failures),           EITHER_WAY(test_booted),
        EITHER_WAY(test_beyond_the_gap),     EITHER_WAY(test_limit_of_mappings),
        EITHER_WAY(test_wrong_size),         EITHER_WAY(test_random_chain),
    };
    return cmocka_run_group_tests_name("guest memory out of a stack", tests, NULL, NULL);
}
