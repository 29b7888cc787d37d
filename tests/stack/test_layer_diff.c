/* SPDX-License-Identifier: Apache-2.0 */
/* A diff becomes a layer where the file system tells which pages were written, and nowhere else. */
#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/cleanup.h"
#include "base/file.h"
#include "fixture.h"
#include "layers.h"
#include "loop.h"
#include "stack/hole_probe.h"
#include "stack/layer_diff.h"
#include "stack/layer_format.h"

#define PAGES 3000u
#define SIZE  ((uint64_t)PAGES * PAGE)

/* What a VMM writes: runs of changed pages, page by page, pages of zeros among them. */
static const struct change {
    uint64_t page, count;
    bool zero;
} changes[] = {{0, 1, false},     {2, 1, true},      {100, 40, false},
               {513, 300, false}, {2000, 600, true}, {2999, 1, false}};

static void write_changes(int fd)
{
    uint8_t bytes[PAGE] = {0};
    for (size_t i = 0; i < ARRAY_SIZE(changes); i++) {
        for (uint64_t page = changes[i].page; page < changes[i].page + changes[i].count; page++) {
            memset(bytes, 0, PAGE);
            if (!changes[i].zero)
                page_fill(bytes, page, 7);
            assert_int_equal(file_pwrite_exact(fd, bytes, PAGE, page * PAGE, "diff", NULL), 0);
        }
    }
}

static void diff_create(int dirfd)
{
    _cleanup_(close) int fd = openat(dirfd, "diff", O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0640);
    assert_true(fd >= 0);
    assert_int_equal(ftruncate(fd, (off_t)SIZE), 0);
    write_changes(fd);
}

static void check_pages(const struct layer *layer, const struct change *change)
{
    uint8_t wanted[PAGE], got[PAGE];
    struct layer_run run = layer_find(layer, change->page);
    assert_int_equal(run.kind, change->zero ? LAYER_ZERO : LAYER_DATA);
    assert_int_equal(run.count, change->count);
    for (uint64_t i = 0; !change->zero && i < change->count; i++) {
        page_fill(wanted, change->page + i, 7);
        assert_int_equal(
            file_pread_exact(layer_fd(layer), got, PAGE, run.offset + i * PAGE, "layer", NULL), 0);
        assert_memory_equal(got, wanted, PAGE);
    }
}

/* The layer holds the changes and nothing else. */
static void check_layer(int dirfd, const struct layer_info *info)
{
    struct stack_file file = in_dir(dirfd, "memory.1");
    struct error err = {0};
    _cleanup_(layer) struct layer *layer = layer_open(&file, SIZE, &err);
    if (!layer)
        fail_msg("%s", err.message);
    for (size_t i = 0; i < ARRAY_SIZE(changes); i++)
        check_pages(layer, &changes[i]);
    assert_int_equal(info->runs, ARRAY_SIZE(changes));
    assert_int_equal(info->data_pages, 342);
    assert_int_equal(info->zero_pages, 601);
    assert_int_equal(layer_verify(layer, NULL), 0);
}

static struct pair diff_pair(void **state)
{
    struct pair pair = pair_make(fixture_scratch(*state), fixture_scratch(*state));
    diff_create(pair.a);
    return pair;
}

static int convert(const struct pair *pair, uint64_t size, struct layer_info *info,
                   struct error *err)
{
    struct stack_file diff = in_dir(pair->a, "diff"), to = in_dir(pair->b, "memory.1");
    return layer_from_diff(&diff, &to, size, info, err);
}

static void convert_good(const struct pair *pair)
{
    struct layer_info info;
    struct error err = {0};
    if (convert(pair, SIZE, &info, &err) < 0)
        fail_msg("%s", err.message);
    check_layer(pair->b, &info);
    assert_int_equal(entries_of(pair->a), 1);
    assert_int_equal(entries_of(pair->b), 1);
}

static void test_convert(void **state)
{
    struct pair pair = diff_pair(state);
    convert_good(&pair);
    pair_remove(&pair);
}

/* The same when nothing of the diff is in the page cache any more. */
static void test_convert_from_disk(void **state)
{
    struct pair pair = diff_pair(state);
    int fd = openat(pair.a, "diff", O_RDONLY | O_CLOEXEC);
    assert_int_equal(fsync(fd), 0);
    assert_int_equal(posix_fadvise(fd, 0, 0, POSIX_FADV_DONTNEED), 0);
    close(fd);
    convert_good(&pair);
    pair_remove(&pair);
}

static void assert_fails(const struct pair *pair, uint64_t size, int errnum, enum error_code code,
                         const char *words)
{
    struct error err = {0};
    unsigned before = entries_of(pair->b);
    assert_int_equal(convert(pair, size, NULL, &err), -errnum);
    assert_int_equal(err.code, code);
    if (!strstr(err.message, words))
        fail_msg("expected \"%s\", got \"%s\"", words, err.message);
    assert_int_equal(entries_of(pair->a), 1);
    assert_int_equal(entries_of(pair->b), before);
}

static void test_other_size(void **state)
{
    struct pair pair = diff_pair(state);
    assert_fails(&pair, SIZE + PAGE, EINVAL, ERROR_CORRUPT, "diff has 12288000 bytes");
    pair_remove(&pair);
}

static void test_failures(void **state)
{
    static const char *const points[] = {
        "stack-layer-data=ENOSPC", "stack-layer-header=ENOSPC", "stack-layer-sync=ENOSPC",
        "stack-diff-before-rename=ENOSPC", "stack-diff-after-rename=ENOSPC"};
    struct pair pair = diff_pair(state);
    for (size_t i = 0; i < ARRAY_SIZE(points); i++) {
        failpoints(points[i]);
        assert_fails(&pair, SIZE, ENOSPC, ERROR_RESOURCES, "memory.1");
    }
    failpoints("stack-hole-probe=EIO");
    assert_fails(&pair, SIZE, EOPNOTSUPP, ERROR_UNSUPPORTED, "diff does not tell");
    failpoints(NULL);
    convert_good(&pair);
    assert_fails(&pair, SIZE, EEXIST, ERROR_SYSTEM, "memory.1");
    pair_remove(&pair);
}

static void convert_in_child(void *context)
{
    convert(context, SIZE, NULL, NULL);
}

/* Killed half-way: nothing under the final name, and the next attempt sweeps what is left. */
static void test_killed(void **state)
{
    struct pair pair = diff_pair(state);
    failpoints("stack-diff-before-rename");
    assert_true(was_killed(in_child(convert_in_child, &pair)));
    failpoints(NULL);
    assert_false(is_there(pair.b, "memory.1"));
    assert_int_equal(entries_of(pair.b), 1);
    convert_good(&pair);
    pair_remove(&pair);
}

/* Here every file is all data, so that a diff would be taken for a whole image. */
static void test_no_holes(void **state)
{
    struct pair pair = pair_make(fixture_scratch("ramfs"), fixture_scratch("ext4"));
    diff_create(pair.a);
    assert_fails(&pair, SIZE, EOPNOTSUPP, ERROR_UNSUPPORTED, "diff does not tell");
    pair_remove(&pair);
}

/* A file system of its own for one test, on a loop device. */
static void mount_own(const char *path, const char *const *mkfs)
{
    char device[32];
    const char *argv[16];
    size_t count = 0;
    _cleanup_(free) char *image = NULL;
    assert_true(asprintf(&image, "%s/image", fixture_scratch("tmpfs")->path) > 0);
    _cleanup_(close) int fd = open(image, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
    assert_int_equal(ftruncate(fd, 64 << 20), 0);
    for (; mkfs[count]; count++)
        argv[count] = mkfs[count];
    argv[count] = image;
    argv[count + 1] = NULL;
    program_run(argv);
    _cleanup_(close) int loop = loop_attach(fd, device, sizeof(device));
    assert_int_equal(unlink(image), 0);
    assert_int_equal(mount(device, path, "ext4", 0, NULL), 0);
}

/* Blocks smaller than a page: good for whole pages, and what is no whole page is refused. */
static void test_small_blocks(void **state)
{
    static const char *const mkfs[] = {"mkfs.ext4", "-q", "-F", "-b", "1024", NULL};
    struct pair pair = pair_make(fixture_scratch("ext4"), fixture_scratch("ext4"));
    mount_own(pair.from_path, mkfs);
    close(pair.a);
    pair.a = open(pair.from_path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    assert_int_equal(tree_remove(pair.a, "lost+found", NULL), 0);
    diff_create(pair.a);
    convert_good(&pair);
    int fd = openat(pair.a, "diff", O_WRONLY | O_CLOEXEC);
    assert_int_equal(pwrite(fd, "x", 1, 2900 * PAGE + 1024), 1);
    close(fd);
    assert_int_equal(unlinkat(pair.b, "memory.1", 0), 0);
    assert_fails(&pair, SIZE, EINVAL, ERROR_CORRUPT, "not whole pages");
    assert_int_equal(umount2(pair.from_path, MNT_DETACH), 0);
    pair_remove(&pair);
}

/* Blocks that are found or allocated in clusters larger than a page: refused. */
static void test_large_clusters(void **state)
{
    static const char *const mkfs[] = {"mkfs.ext4", "-q",       "-F", "-b",    "4096",
                                       "-O",        "bigalloc", "-C", "65536", NULL};
    struct pair pair = pair_make(fixture_scratch("ext4"), fixture_scratch("ext4"));
    mount_own(pair.from_path, mkfs);
    close(pair.a);
    pair.a = open(pair.from_path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    assert_int_equal(tree_remove(pair.a, "lost+found", NULL), 0);
    diff_create(pair.a);
    /* Whatever this kernel makes of clusters: page by page, or refused. */
    struct error err = {0};
    struct layer_info info;
    int r = convert(&pair, SIZE, &info, &err);
    if (r == 0)
        check_layer(pair.b, &info);
    else
        assert_int_equal(r, -EOPNOTSUPP);
    assert_int_equal(umount2(pair.from_path, MNT_DETACH), 0);
    pair_remove(&pair);
}

/* No room for the layer, for real. */
static void test_no_space(void **state)
{
    struct pair pair = pair_make(fixture_scratch("ext4"), fixture_scratch("tmpfs"));
    diff_create(pair.a);
    assert_int_equal(mount("none", pair.to_path, "tmpfs", 0, "size=1m"), 0);
    close(pair.b);
    pair.b = open(pair.to_path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    assert_fails(&pair, SIZE, ENOSPC, ERROR_RESOURCES, "memory.1");
    assert_int_equal(umount2(pair.to_path, MNT_DETACH), 0);
    pair_remove(&pair);
}

static const struct fs_case cases[] = {
    {"a diff becomes a layer", test_convert},
    {"a diff that has left the cache", test_convert_from_disk},
    {"a diff of another size", test_other_size},
    {"each step fails", test_failures},
    {"killed before the rename", test_killed},
};

static const struct fs_case others[] = {
    {"a file system without holes", test_no_holes},
    {"blocks smaller than a page", test_small_blocks},
    {"clusters larger than a page", test_large_clusters},
    {"no space", test_no_space},
};

int main(void)
{
    return run_on_each("layer diff", cases, ARRAY_SIZE(cases), others, ARRAY_SIZE(others));
}
