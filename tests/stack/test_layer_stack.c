/* SPDX-License-Identifier: Apache-2.0 */
/* Stacks: what is read through several layers is what was written over one another. */
#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/cleanup.h"
#include "base/file.h"
#include "fixture.h"
#include "layers.h"
#include "stack/layer_stack.h"

#define PAGES 600u

/* A directory with a stack in it. */
struct stack_directory {
    char path[32];
    int fd;
    struct stack_file base;
};

static void directory_begin(struct stack_directory *directory)
{
    directory->fd = scratch_directory(directory->path);
    directory->base = in_dir(directory->fd, "memory");
}

static void directory_end(struct stack_directory *directory)
{
    close(directory->fd);
    assert_int_equal(tree_remove(AT_FDCWD, directory->path, NULL), 0);
}

static int file_create(const struct stack_directory *directory, const char *name)
{
    int fd = openat(directory->fd, name, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
    assert_true(fd >= 0);
    return fd;
}

static void base_create(const struct stack_directory *directory, uint64_t size)
{
    _cleanup_(close) int fd = file_create(directory, "memory");
    assert_int_equal(ftruncate(fd, (off_t)size), 0);
}

static void layer_create(const struct stack_directory *directory, const char *name,
                         const char *kinds, uint64_t pages)
{
    _cleanup_(close) int fd = file_create(directory, name);
    layer_write(fd, kinds, pages, 1);
}

static struct layer_stack *open_good(const struct stack_directory *directory)
{
    struct error err = {0};
    struct layer_stack *stack = layer_stack_open(&directory->base, &err);
    if (!stack)
        fail_msg("%s", err.message);
    return stack;
}

static void assert_extent(struct layer_extent extent, uint64_t count, unsigned layer, bool zero)
{
    assert_int_equal(extent.count, count);
    assert_int_equal(extent.layer, layer);
    assert_int_equal(extent.zero, zero);
    assert_int_equal(extent.fd < 0, zero);
}

static void test_layers(void **state)
{
    struct stack_directory directory;
    directory_begin(&directory);
    base_create(&directory, 12 * PAGE);
    layer_create(&directory, "memory.1", "-ddzzd", 12);
    layer_create(&directory, "memory.2", "--dd-zz-d", 12);
    struct layer_stack *stack = open_good(&directory);
    assert_int_equal(layer_stack_pages(stack), 12);
    assert_int_equal(layer_stack_depth(stack), 2);
    assert_extent(layer_stack_find(stack, 0), 1, 0, false);
    assert_extent(layer_stack_find(stack, 1), 1, 1, false);
    assert_extent(layer_stack_find(stack, 2), 2, 2, false);
    assert_extent(layer_stack_find(stack, 4), 3, 0, true); /* zeros of both layers */
    assert_extent(layer_stack_find(stack, 7), 1, 0, false);
    assert_extent(layer_stack_find(stack, 8), 1, 2, false);
    assert_extent(layer_stack_find(stack, 9), 3, 0, false);
    assert_extent(layer_stack_find(stack, 11), 1, 0, false);
    assert_int_equal(layer_stack_extents(stack), 7);
    assert_int_equal(layer_stack_find(stack, 9).offset, 9 * PAGE);
    assert_int_equal(layer_stack_find(stack, 0).fd, layer_stack_fd(stack, 0));
    assert_int_equal(layer_stack_find(stack, 8).fd, layer_stack_fd(stack, 2));
    struct layer_info info;
    layer_stack_describe(stack, 1, &info);
    assert_int_equal(info.data_pages, 3);
    assert_int_equal(layer_stack_verify(stack, NULL), 0);
    layer_stack_close(stack);
    directory_end(&directory);
}

static void test_base_alone(void **state)
{
    struct stack_directory directory;
    directory_begin(&directory);
    base_create(&directory, 12 * PAGE);
    struct layer_stack *stack = open_good(&directory);
    assert_int_equal(layer_stack_depth(stack), 0);
    assert_extent(layer_stack_find(stack, 5), 7, 0, false);
    assert_int_equal(layer_stack_find(stack, 5).offset, 5 * PAGE);
    assert_int_equal(layer_stack_verify(stack, NULL), 0);
    layer_stack_close(stack);
    directory_end(&directory);
}

/* A stack in which one is missing would be an older image, or none that ever was. */
static void test_missing_layer(void **state)
{
    struct stack_directory directory;
    struct error err = {0};
    directory_begin(&directory);
    base_create(&directory, 4 * PAGE);
    layer_create(&directory, "memory.2", "d", 4);
    assert_null(layer_stack_open(&directory.base, &err));
    assert_int_equal(err.code, ERROR_CORRUPT);
    assert_non_null(strstr(err.message, "memory.1 is missing"));
    layer_create(&directory, "memory.1", "d", 4);
    assert_int_equal(layer_stack_count(&directory.base, NULL), 2);
    directory_end(&directory);
}

static void test_too_many_layers(void **state)
{
    struct stack_directory directory;
    struct error err = {0};
    directory_begin(&directory);
    base_create(&directory, 4 * PAGE);
    for (unsigned number = 1; number <= LAYER_STACK_LIMIT + 1; number++) {
        _cleanup_(free) char *name = layer_stack_name("memory", number);
        layer_create(&directory, name, "d", 4);
        int count = layer_stack_count(&directory.base, &err);
        assert_int_equal(count, number <= LAYER_STACK_LIMIT ? (int)number : -E2BIG);
    }
    assert_null(layer_stack_open(&directory.base, &err));
    assert_non_null(strstr(err.message, "more than 32 layers"));
    directory_end(&directory);
}

static void test_no_base(void **state)
{
    struct stack_directory directory;
    struct error err = {0};
    directory_begin(&directory);
    layer_create(&directory, "memory.1", "d", 4);
    assert_null(layer_stack_open(&directory.base, &err));
    assert_int_equal(err.errnum, ENOENT);
    base_create(&directory, 4 * PAGE + 1);
    assert_null(layer_stack_open(&directory.base, &err));
    assert_int_equal(err.code, ERROR_INVALID);
    assert_int_equal(unlinkat(directory.fd, "memory", 0), 0);
    base_create(&directory, 0);
    assert_null(layer_stack_open(&directory.base, &err));
    assert_int_equal(err.code, ERROR_INVALID);
    directory_end(&directory);
}

/* A layer of an image of another size, a damaged one, a link to one: an error that names it. */
static void test_unfit_layers(void **state)
{
    struct stack_directory directory;
    struct error err = {0};
    directory_begin(&directory);
    base_create(&directory, 4 * PAGE);
    layer_create(&directory, "other", "d", 5);
    assert_int_equal(linkat(directory.fd, "other", directory.fd, "memory.1", 0), 0);
    assert_null(layer_stack_open(&directory.base, &err));
    assert_int_equal(err.code, ERROR_CORRUPT);
    assert_non_null(strstr(err.message, "memory.1"));
    assert_int_equal(unlinkat(directory.fd, "memory.1", 0), 0);
    assert_int_equal(symlinkat("other", directory.fd, "memory.1"), 0);
    assert_null(layer_stack_open(&directory.base, &err));
    assert_int_equal(err.errnum, ELOOP);
    assert_int_equal(unlinkat(directory.fd, "memory.1", 0), 0);
    close(file_create(&directory, "memory.1"));
    assert_null(layer_stack_open(&directory.base, &err));
    assert_int_equal(err.code, ERROR_CORRUPT);
    directory_end(&directory);
}

/* Only the data of one layer is wrong: the stack opens, and the check tells which. */
static void test_verify(void **state)
{
    struct stack_directory directory;
    struct error err = {0};
    directory_begin(&directory);
    base_create(&directory, 9 * PAGE);
    layer_create(&directory, "memory.1", "-ddzzd", 9);
    layer_create(&directory, "memory.2", "--dd-zz-d", 9);
    int fd = openat(directory.fd, "memory.2", O_WRONLY | O_CLOEXEC);
    assert_int_equal(pwrite(fd, "rotten", 6, 2 * PAGE + 17), 6);
    close(fd);
    struct layer_stack *stack = open_good(&directory);
    assert_int_equal(layer_stack_verify(stack, &err), -EBADMSG);
    assert_int_equal(err.code, ERROR_CORRUPT);
    assert_non_null(strstr(err.message, "memory.2"));
    assert_non_null(strstr(err.message, "pages 2 to 8"));
    layer_stack_close(stack);
    directory_end(&directory);
}

/* ---- random layers beside a plain array ---- */

static uint32_t next_random(uint32_t *seed)
{
    *seed = *seed * 1664525u + 1013904223u;
    return *seed >> 8;
}

static void model_base(const struct stack_directory *directory, uint8_t *model, uint32_t *seed)
{
    _cleanup_(close) int fd = file_create(directory, "memory");
    for (uint64_t page = 0; page < PAGES; page++) {
        memset(model + page * PAGE, 0, PAGE);
        if (next_random(seed) % 3 > 0)
            page_fill(model + page * PAGE, page, *seed);
    }
    assert_int_equal(file_pwrite_exact(fd, model, PAGES * PAGE, 0, "memory", NULL), 0);
}

static void model_run(struct layer_writer *writer, uint8_t *model, uint64_t page, uint64_t count,
                      uint32_t *seed)
{
    uint32_t kind = next_random(seed) % 3;
    if (kind == 0) {
        memset(model + page * PAGE, 0, count * PAGE);
        assert_int_equal(layer_writer_add_zeros(writer, page, count, NULL), 0);
        return;
    }
    for (uint64_t i = 0; i < count; i++) {
        memset(model + (page + i) * PAGE, 0, PAGE);
        if (next_random(seed) % 8 > 0) /* zeros that have to be found */
            page_fill(model + (page + i) * PAGE, page + i, *seed);
    }
    if (kind == 1) {
        assert_int_equal(layer_writer_add(writer, page, model + page * PAGE, count, NULL), 0);
        return;
    }
    _cleanup_(close) int from = memory_file_of(model + page * PAGE, count * PAGE);
    assert_int_equal(layer_writer_add_file(writer, page, from, 0, count, "from", NULL), 0);
}

static void model_layer(const struct stack_directory *directory, unsigned number, uint8_t *model,
                        uint32_t *seed)
{
    _cleanup_(free) char *name = layer_stack_name("memory", number);
    _cleanup_(close) int fd = file_create(directory, name);
    _cleanup_(layer_writer) struct layer_writer *writer =
        layer_writer_begin(fd, name, PAGES * PAGE, NULL);
    uint32_t spread = 1 + next_random(seed) % 60, longest = 1 + next_random(seed) % 400;
    for (uint64_t page = next_random(seed) % spread; page < PAGES;) {
        uint64_t count = 1 + next_random(seed) % longest;
        count = count < PAGES - page ? count : PAGES - page;
        model_run(writer, model, page, count, seed);
        page += count + next_random(seed) % spread;
    }
    assert_int_equal(layer_writer_finish(writer, NULL, NULL), 0);
}

/* Walks the image: each extent reads as the array does, and no two of them could be one. */
static void model_check(const struct stack_directory *directory, const uint8_t *model)
{
    static uint8_t bytes[PAGES * PAGE];
    struct layer_stack *stack = open_good(directory);
    struct layer_extent last = {0};
    size_t extents = 0;
    for (uint64_t page = 0; page < PAGES; extents++) {
        struct layer_extent extent = layer_stack_find(stack, page);
        assert_int_equal(extent.page, page);
        assert_in_range(extent.count, 1, PAGES - page);
        memset(bytes, 0, extent.count * PAGE);
        if (!extent.zero)
            assert_int_equal(file_pread_exact(extent.fd, bytes, extent.count * PAGE, extent.offset,
                                              "extent", NULL),
                             0);
        assert_memory_equal(bytes, model + page * PAGE, extent.count * PAGE);
        assert_false(extents > 0 && extent.fd == last.fd &&
                     (extent.zero || extent.offset == last.offset + last.count * PAGE));
        struct layer_extent end = layer_stack_find(stack, page + extent.count - 1);
        assert_int_equal(end.count, 1);
        assert_int_equal(end.fd, extent.fd);
        page += extent.count;
        last = extent;
    }
    assert_int_equal(extents, layer_stack_extents(stack));
    assert_int_equal(layer_stack_verify(stack, NULL), 0);
    layer_stack_close(stack);
}

static void test_model(void **state)
{
    static uint8_t model[PAGES * PAGE];
    for (uint32_t sequence = 1; sequence <= 30; sequence++) {
        uint32_t seed = sequence;
        struct stack_directory directory;
        directory_begin(&directory);
        model_base(&directory, model, &seed);
        unsigned depth = 1 + next_random(&seed) % 6;
        for (unsigned number = 1; number <= depth; number++) {
            model_layer(&directory, number, model, &seed);
            model_check(&directory, model);
        }
        directory_end(&directory);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_layers),        cmocka_unit_test(test_base_alone),
        cmocka_unit_test(test_missing_layer), cmocka_unit_test(test_too_many_layers),
        cmocka_unit_test(test_no_base),       cmocka_unit_test(test_unfit_layers),
        cmocka_unit_test(test_verify),        cmocka_unit_test(test_model),
    };
    return cmocka_run_group_tests_name("layer stack", tests, NULL, NULL);
}
