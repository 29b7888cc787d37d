/* SPDX-License-Identifier: Apache-2.0 */
/* One layer: what is written is found again, and the writer refuses what would make no layer. */
#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/cleanup.h"
#include "base/file.h"
#include "fixture.h"
#include "layers.h"
#include "stack/layer.h"

static struct layer *open_good(int fd, uint64_t pages)
{
    struct error err = {0};
    struct layer *layer = layer_open_fd(fd, "memory.1", pages * PAGE, &err);
    if (!layer)
        fail_msg("%s", err.message);
    return layer;
}

static void assert_run(struct layer_run run, uint64_t page, uint64_t count, enum layer_kind kind)
{
    assert_int_equal(run.page, page);
    assert_int_equal(run.count, count);
    assert_int_equal(run.kind, kind);
    if (kind == LAYER_DATA)
        assert_int_equal(run.offset % PAGE, 0);
}

/* As a VM has it: mapped. */
static void assert_data(const struct layer *layer, struct layer_run run, unsigned seed)
{
    uint8_t wanted[PAGE];
    uint8_t *pages =
        mmap(NULL, run.count * PAGE, PROT_READ, MAP_PRIVATE, layer_fd(layer), (off_t)run.offset);
    assert_true(pages != MAP_FAILED);
    for (uint64_t i = 0; i < run.count; i++) {
        page_fill(wanted, run.page + i, seed);
        assert_memory_equal(pages + i * PAGE, wanted, PAGE);
    }
    munmap(pages, run.count * PAGE);
}

static void test_look_up(void **state)
{
    int fd = memory_file();
    layer_write(fd, "-ddzf-zd", 10, 3);
    _cleanup_(layer) struct layer *layer = open_good(fd, 10);
    assert_run(layer_find(layer, 0), 0, 1, LAYER_ABSENT);
    assert_run(layer_find(layer, 1), 1, 2, LAYER_DATA);
    assert_run(layer_find(layer, 2), 2, 1, LAYER_DATA);
    assert_run(layer_find(layer, 3), 3, 2, LAYER_ZERO);
    assert_run(layer_find(layer, 5), 5, 1, LAYER_ABSENT);
    assert_run(layer_find(layer, 6), 6, 1, LAYER_ZERO);
    assert_run(layer_find(layer, 7), 7, 1, LAYER_DATA);
    assert_run(layer_find(layer, 8), 8, 2, LAYER_ABSENT);
    assert_data(layer, layer_find(layer, 1), 3);
    assert_data(layer, layer_find(layer, 2), 3);
    assert_data(layer, layer_find(layer, 7), 3);
    struct error err = {0};
    assert_int_equal(layer_verify(layer, &err), 0);
}

static void test_next(void **state)
{
    int fd = memory_file();
    layer_write(fd, "-ddzf-zd", 10, 3);
    _cleanup_(layer) struct layer *layer = open_good(fd, 10);
    struct layer_run run;
    assert_true(layer_next(layer, 0, &run));
    assert_run(run, 1, 2, LAYER_DATA);
    assert_true(layer_next(layer, 2, &run));
    assert_run(run, 2, 1, LAYER_DATA);
    assert_true(layer_next(layer, 4, &run));
    assert_run(run, 4, 1, LAYER_ZERO);
    assert_true(layer_next(layer, 5, &run));
    assert_run(run, 6, 1, LAYER_ZERO);
    assert_false(layer_next(layer, 8, &run));
    assert_false(layer_next(layer, 9, &run));
}

static void test_describe(void **state)
{
    int fd = memory_file(), other = memory_file();
    layer_write(fd, "-ddzf-zd", 10, 3);
    layer_write(other, "-ddzf-zd", 10, 4);
    _cleanup_(layer) struct layer *layer = open_good(fd, 0), *second = open_good(other, 0);
    struct layer_info info, different;
    struct stat st;
    layer_describe(layer, &info);
    layer_describe(second, &different);
    assert_int_equal(info.image_pages, 10);
    assert_int_equal(info.data_pages, 3);
    assert_int_equal(info.zero_pages, 3);
    assert_int_equal(info.runs, 4);
    assert_int_equal(fstat(layer_fd(layer), &st), 0);
    assert_int_equal(info.file_bytes, st.st_size);
    assert_true(info.id != different.id);
}

/* Nothing changed: a layer all the same. */
static void test_empty(void **state)
{
    int fd = memory_file();
    layer_write(fd, "", 4, 0);
    _cleanup_(layer) struct layer *layer = open_good(fd, 4);
    struct layer_run run;
    assert_run(layer_find(layer, 0), 0, 4, LAYER_ABSENT);
    assert_run(layer_find(layer, 3), 3, 1, LAYER_ABSENT);
    assert_false(layer_next(layer, 0, &run));
    assert_int_equal(layer_verify(layer, NULL), 0);
}

/* Zeros that are told need no room: a layer of the largest image, and the last page of it. */
static void test_largest_image(void **state)
{
    uint8_t bytes[PAGE];
    uint64_t last = LAYER_PAGE_LIMIT - 1;
    struct error err = {0};
    int fd = memory_file();
    page_fill(bytes, last, 1);
    _cleanup_(layer_writer) struct layer_writer *writer =
        layer_writer_begin(fd, "memory.1", LAYER_PAGE_LIMIT * (uint64_t)PAGE, &err);
    assert_non_null(writer);
    assert_int_equal(layer_writer_add_zeros(writer, 0, last, &err), 0);
    assert_int_equal(layer_writer_add(writer, last, bytes, 1, &err), 0);
    assert_int_equal(layer_writer_finish(writer, NULL, &err), 0);
    _cleanup_(layer) struct layer *layer = open_good(fd, LAYER_PAGE_LIMIT);
    assert_run(layer_find(layer, 0), 0, last, LAYER_ZERO);
    assert_run(layer_find(layer, last), last, 1, LAYER_DATA);
    assert_data(layer, layer_find(layer, last), 1);
}

/* From a file, over several chunks, with zeros among the pages. */
static void test_from_a_file(void **state)
{
    enum { PAGES = 700, SKIPPED = 5 };
    uint8_t bytes[PAGE];
    struct error err = {0};
    int fd = memory_file();
    _cleanup_(close) int from = memory_file();
    assert_int_equal(ftruncate(from, (off_t)(PAGES + SKIPPED) * PAGE), 0);
    for (uint64_t page = 0; page < PAGES; page++) {
        page_fill(bytes, page + 1, 8);
        if (page != 300 && page != 699)
            assert_int_equal(
                file_pwrite_exact(from, bytes, PAGE, (page + SKIPPED) * PAGE, "from", NULL), 0);
    }
    _cleanup_(layer_writer) struct layer_writer *writer =
        layer_writer_begin(fd, "memory.1", (uint64_t)1000 * PAGE, &err);
    assert_int_equal(
        layer_writer_add_file(writer, 1, from, (uint64_t)SKIPPED * PAGE, PAGES, "from", &err), 0);
    struct layer_info info;
    assert_int_equal(layer_writer_finish(writer, &info, &err), 0);
    assert_int_equal(info.data_pages, PAGES - 2);
    _cleanup_(layer) struct layer *layer = open_good(fd, 1000);
    assert_run(layer_find(layer, 1), 1, 300, LAYER_DATA);
    assert_run(layer_find(layer, 301), 301, 1, LAYER_ZERO);
    assert_run(layer_find(layer, 302), 302, 398, LAYER_DATA);
    assert_run(layer_find(layer, 700), 700, 1, LAYER_ZERO);
    assert_data(layer, layer_find(layer, 1), 8);
    assert_data(layer, layer_find(layer, 302), 8);
    assert_int_equal(layer_verify(layer, NULL), 0);
}

static void test_file_too_short(void **state)
{
    struct error err = {0};
    _cleanup_(close) int fd = memory_file(), from = memory_file();
    assert_int_equal(ftruncate(from, 3 * PAGE - 1), 0);
    _cleanup_(layer_writer) struct layer_writer *writer =
        layer_writer_begin(fd, "memory.1", 16 * PAGE, &err);
    assert_int_equal(layer_writer_add_file(writer, 0, from, 0, 3, "diff", &err), -EIO);
    assert_non_null(strstr(err.message, "diff"));
}

static void test_order(void **state)
{
    uint8_t bytes[2 * PAGE] = {1};
    _cleanup_(close) int fd = memory_file();
    _cleanup_(layer_writer) struct layer_writer *writer =
        layer_writer_begin(fd, "memory.1", 16 * PAGE, NULL);
    assert_int_equal(layer_writer_add(writer, 4, bytes, 2, NULL), 0);
    struct error err = {0};
    assert_int_equal(layer_writer_add(writer, 5, bytes, 1, &err), -EINVAL);
    assert_int_equal(err.code, ERROR_INVALID);
    assert_non_null(strstr(err.message, "memory.1"));
    assert_int_equal(layer_writer_add_zeros(writer, 3, 1, NULL), -EINVAL);
    assert_int_equal(layer_writer_add_zeros(writer, 15, 2, NULL), -EINVAL);
    assert_int_equal(layer_writer_add_zeros(writer, 17, 0, NULL), -EINVAL);
    assert_int_equal(layer_writer_add_zeros(writer, UINT64_MAX, 2, NULL), -EINVAL);
    assert_int_equal(layer_writer_add_zeros(writer, 6, UINT64_MAX, NULL), -EINVAL);
    assert_int_equal(layer_writer_add_zeros(writer, 6, 10, NULL), 0);
}

static void test_image_sizes(void **state)
{
    static const uint64_t sizes[] = {0, 1, PAGE + 1, ((uint64_t)LAYER_PAGE_LIMIT + 1) * PAGE,
                                     UINT64_MAX};
    _cleanup_(close) int fd = memory_file();
    for (size_t i = 0; i < ARRAY_SIZE(sizes); i++) {
        struct error err = {0};
        assert_null(layer_writer_begin(fd, "memory.1", sizes[i], &err));
        assert_int_equal(err.code, ERROR_INVALID);
    }
}

static void test_image_of_another_size(void **state)
{
    struct error err = {0};
    int fd = memory_file();
    layer_write(fd, "d", 10, 0);
    assert_null(layer_open_fd(fd, "memory.1", 11 * PAGE, &err));
    assert_int_equal(err.code, ERROR_CORRUPT);
    assert_non_null(strstr(err.message, "40960"));
    assert_non_null(strstr(err.message, "45056"));
}

/* Nothing but a regular file of that very name is opened. */
static void test_names(void **state)
{
    char path[32];
    _cleanup_(close) int dir = scratch_directory(path);
    struct stack_file file = in_dir(dir, "memory.1");
    struct error err = {0};
    assert_null(layer_open(&file, 0, &err));
    assert_int_equal(err.errnum, ENOENT);
    int fd = openat(dir, "elsewhere", O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    layer_write(fd, "d", 1, 0);
    close(fd);
    assert_int_equal(symlinkat("elsewhere", dir, "memory.1"), 0);
    assert_null(layer_open(&file, 0, &err));
    assert_int_equal(err.errnum, ELOOP);
    assert_int_equal(unlinkat(dir, "memory.1", 0), 0);
    assert_int_equal(renameat(dir, "elsewhere", dir, "memory.1"), 0);
    _cleanup_(layer) struct layer *layer = layer_open(&file, PAGE, &err);
    assert_non_null(layer);
    assert_int_equal(tree_remove(AT_FDCWD, path, NULL), 0);
}

/* Each step of the writer fails: the error names the file, and what is there is no layer. */
static void test_failures(void **state)
{
    static const char *const points[] = {"stack-layer-data=ENOSPC", "stack-layer-index=ENOSPC",
                                         "stack-layer-header=ENOSPC", "stack-layer-sync=ENOSPC"};
    for (size_t i = 0; i < ARRAY_SIZE(points); i++) {
        uint8_t bytes[PAGE] = {1};
        struct error err = {0};
        int fd = memory_file();
        _cleanup_(layer_writer) struct layer_writer *writer =
            layer_writer_begin(fd, "memory.1", 16 * PAGE, NULL);
        assert_int_equal(layer_writer_add(writer, 4, bytes, 1, NULL), 0);
        failpoints(points[i]);
        assert_int_equal(layer_writer_finish(writer, NULL, &err), -ENOSPC);
        failpoints(NULL);
        assert_int_equal(err.code, ERROR_RESOURCES);
        assert_non_null(strstr(err.message, "memory.1"));
        bool whole = i + 1 == ARRAY_SIZE(points); /* only not known to be on the disk */
        struct layer *layer = layer_open_fd(fd, "memory.1", 0, NULL);
        assert_true((layer != NULL) == whole);
        layer_close(layer);
    }
}

/* The kernel refuses what lies beyond some size, wherever that is: never a layer, never silence. */
static void write_within(void *context)
{
    const rlim_t *limit = context;
    const struct rlimit size = {*limit, *limit};
    uint8_t bytes[PAGE] = {1};
    struct error err = {0};
    FILE *file = tmpfile();
    child_check(file != NULL, "a file");
    signal(SIGXFSZ, SIG_IGN);
    child_check(setrlimit(RLIMIT_FSIZE, &size) == 0, "the limit");
    struct layer_writer *writer = layer_writer_begin(fileno(file), "memory.1", 600 * PAGE, &err);
    int r = 0;
    for (uint64_t page = 0; r == 0 && page < 600; page++)
        r = layer_writer_add(writer, page, bytes, 1, &err);
    if (r == 0)
        r = layer_writer_finish(writer, NULL, &err);
    child_check(r == -EFBIG && err.errnum == EFBIG, "EFBIG");
    child_check(!layer_open_fd(dup(fileno(file)), "memory.1", 0, NULL), "no layer");
    layer_writer_free(writer);
    fclose(file);
}

static void test_file_size_limit(void **state)
{
    uint64_t whole = 601 * PAGE + 16 + 3 * 8;
    for (rlim_t limit = 0; limit < whole; limit += 50 * PAGE)
        assert_int_equal(in_child(write_within, &limit), 0);
    rlim_t limits[] = {whole - 1, 601 * PAGE, 601 * PAGE + 15};
    for (size_t i = 0; i < ARRAY_SIZE(limits); i++)
        assert_int_equal(in_child(write_within, &limits[i]), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_look_up),         cmocka_unit_test(test_next),
        cmocka_unit_test(test_describe),        cmocka_unit_test(test_empty),
        cmocka_unit_test(test_largest_image),   cmocka_unit_test(test_from_a_file),
        cmocka_unit_test(test_file_too_short),  cmocka_unit_test(test_order),
        cmocka_unit_test(test_image_sizes),     cmocka_unit_test(test_image_of_another_size),
        cmocka_unit_test(test_names),           cmocka_unit_test(test_failures),
        cmocka_unit_test(test_file_size_limit),
    };
    return cmocka_run_group_tests_name("layer", tests, NULL, NULL);
}
