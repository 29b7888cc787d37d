/* SPDX-License-Identifier: Apache-2.0 */
/* Copying images on real file systems: holes stay holes, and half a copy is none. */
#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/cleanup.h"
#include "base/file.h"
#include "shared.h"
#include "stack/copy.h"

static void copy_and_check(const struct pair *pair, uint64_t size, const struct extent *extents,
                           size_t count, uint64_t allocated)
{
    image_make(pair->a, "memory", size, extents, count, 7);
    share_works(pair);
    image_assert(pair->b, "fork", size, extents, count, 7);
    image_assert_sparse(pair->b, "fork", allocated);
    assert_int_equal(unlinkat(pair->a, "memory", 0), 0);
    assert_int_equal(unlinkat(pair->b, "fork", 0), 0);
}

static void test_shapes(void **state)
{
    static const struct extent start = {0, 16 * KIB}, end = {1 * MIB - 16 * KIB, 16 * KIB};
    static const struct extent all = {0, 1 * MIB}, odd = {0, 4097};
    struct pair pair = pair_across(state);
    copy_and_check(&pair, 0, NULL, 0, 0);                        /* empty */
    copy_and_check(&pair, 64 * MIB, NULL, 0, 64 * KIB);          /* one hole */
    copy_and_check(&pair, 1 * MIB, &start, 1, 128 * KIB);        /* a hole at the end */
    copy_and_check(&pair, 1 * MIB, &end, 1, 128 * KIB);          /* a hole at the start */
    copy_and_check(&pair, 1 * MIB, &all, 1, 1 * MIB + 64 * KIB); /* no hole */
    copy_and_check(&pair, 4097, &odd, 1, 64 * KIB);
    copy_and_check(&pair, 1, &(struct extent){0, 1}, 1, 64 * KIB);
    pair_remove(&pair);
}

/* ramfs reports one big data extent, whatever was written: zeros are left out all the same. */
static void test_source_reports_no_holes(void **state)
{
    struct pair pair = pair_make(fixture_scratch("ramfs"), fixture_scratch(*state));
    image_make(pair.a, "memory", MIXED_SIZE, mixed, 3, 1);
    int fd = openat(pair.a, "memory", O_RDONLY | O_CLOEXEC);
    assert_int_equal(lseek(fd, 0, SEEK_DATA), 0);
    assert_int_equal(lseek(fd, 0, SEEK_HOLE), MIXED_SIZE);
    close(fd);
    struct stack_result result = share_works(&pair);
    assert_in_range(result.bytes_copied, 8 * KIB + 5000 + 128 * KIB, 160 * KIB);
    image_assert(pair.b, "fork", MIXED_SIZE, mixed, 3, 1);
    image_assert_sparse(pair.b, "fork", MIXED_ALLOCATED);
    pair_remove(&pair);
}

/* A source full of written zeros. */
static void test_written_zeros(void **state)
{
    struct pair pair = pair_across(state);
    int fd = openat(pair.a, "memory", O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
    static const char zeros[256 * KIB];
    assert_int_equal(write(fd, zeros, sizeof(zeros)), sizeof(zeros));
    close(fd);
    struct stack_result result = share_works(&pair);
    assert_int_equal(result.bytes_copied, 0);
    image_assert(pair.b, "fork", sizeof(zeros), NULL, 0, 0);
    image_assert_sparse(pair.b, "fork", 64 * KIB);
    pair_remove(&pair);
}

/* No file system here lacks SEEK_DATA or sparse files: the answers are made up. */
static void test_no_sparse_files(void **state)
{
    static const char *const lists[] = {"stack-share-copy-seek=EINVAL",
                                        "stack-share-copy-seek=EOPNOTSUPP",
                                        "stack-share-copy-dense=EOPNOTSUPP"};
    struct pair pair = pair_across(state);
    image_make(pair.a, "memory", MIXED_SIZE, mixed, 3, 1);
    for (size_t i = 0; i < ARRAY_SIZE(lists); i++) {
        struct stack_file from = in_dir(pair.a, "memory"), to = in_dir(pair.b, "fork");
        struct stack_result result;
        struct error err = {0};
        failpoints(lists[i]);
        assert_int_equal(stack_share(&from, &to, &result, &err), -EOPNOTSUPP);
        failpoints(NULL);
        assert_int_equal(err.code, ERROR_UNSUPPORTED);
        assert_non_null(strstr(err.message, "no sparse files"));
        assert_int_equal(entries_of(pair.b), 0);
    }
    pair_remove(&pair);
}

/* Takes the file system's space but for a few MiB. */
static void fill_up(int dirfd, unsigned leave_mib)
{
    int fd = openat(dirfd, "reserve", O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
    assert_int_equal(fallocate(fd, 0, 0, (off_t)(leave_mib * MIB)), 0);
    close(fd);
    fd = openat(dirfd, "filler", O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
    off_t filled = 0;
    for (off_t step = (off_t)(64 * MIB); step >= (off_t)(64 * KIB);) {
        if (fallocate(fd, 0, filled, step) == 0)
            filled += step;
        else
            step /= 2;
    }
    close(fd);
    assert_int_equal(unlinkat(dirfd, "reserve", 0), 0);
    sync();
}

/* ENOSPC for real, half way through the data. */
static void test_no_space(void **state)
{
    static const struct extent data = {0, 48 * MIB};
    const char *other = strcmp(*state, "ext4") == 0 ? "tmpfs" : "ext4";
    struct pair pair = pair_make(fixture_scratch(other), fixture_scratch(*state));
    image_make(pair.a, "memory", 64 * MIB, &data, 1, 3);
    fill_up(pair.b, 8);
    share_fails(&pair, ENOSPC, "fork");
    assert_int_equal(entries_of(pair.b), 1); /* the filler */
    assert_int_equal(unlinkat(pair.b, "filler", 0), 0);
    share_works(&pair); /* and with space again it works */
    pair_remove(&pair);
}

/* Each step of a copy fails; nothing is left, and the next attempt works. */
static void test_failing_steps(void **state)
{
    static const struct {
        const char *list;
        int errnum;
    } steps[] = {
        {"stack-share-reflink=EIO", EIO},
        {"stack-share-reflink=ENOSPC", ENOSPC},
        {"stack-share-copy-truncate=EFBIG", EFBIG},
        {"stack-share-copy-seek=EIO", EIO},
        {"stack-share-copy-data=EIO", EIO},
        {"stack-share-copy-data=ENOSPC", ENOSPC},
        {"stack-share-sync=EIO", EIO},
        {"stack-share-before-rename=EIO", EIO},
        {"stack-share-after-rename=EIO", EIO},
    };
    struct pair pair = pair_across(state);
    image_make(pair.a, "memory", MIXED_SIZE, mixed, 3, 1);
    for (size_t i = 0; i < ARRAY_SIZE(steps); i++) {
        failpoints(steps[i].list);
        share_fails(&pair, steps[i].errnum, "fork");
        failpoints(NULL);
        assert_int_equal(entries_of(pair.b), 0);
    }
    share_works(&pair);
    image_assert(pair.b, "fork", MIXED_SIZE, mixed, 3, 1);
    pair_remove(&pair);
}

struct outcome {
    const struct pair *pair;
    int expected;
};

static void share_in_child(void *context)
{
    const struct outcome *outcome = context;
    struct stack_file from = in_dir(outcome->pair->a, "memory");
    struct stack_file to = in_dir(outcome->pair->b, "fork");
    struct stack_result result;
    child_check(stack_share(&from, &to, &result, NULL) == outcome->expected, "the result");
}

/* Killed anywhere: never a partial file under the final name, and the next attempt sweeps. */
static void test_killed(void **state)
{
    static const char *const points[] = {"stack-share-copy-data", "stack-share-sync",
                                         "stack-share-before-rename", "stack-share-after-rename"};
    struct pair pair = pair_across(state);
    image_make(pair.a, "memory", MIXED_SIZE, mixed, 3, 1);
    struct outcome outcome = {.pair = &pair};
    for (size_t i = 0; i < ARRAY_SIZE(points); i++) {
        failpoints(points[i]);
        assert_true(was_killed(in_child(share_in_child, &outcome)));
        failpoints(NULL);
        assert_int_equal(entries_of(pair.b), 1);
        bool published = is_there(pair.b, "fork");
        assert_true(published == (i == 3));
        if (!published)
            share_works(&pair);
        image_assert(pair.b, "fork", MIXED_SIZE, mixed, 3, 1);
        assert_int_equal(entries_of(pair.b), 1); /* the half-made one was swept */
        assert_int_equal(unlinkat(pair.b, "fork", 0), 0);
    }
    pair_remove(&pair);
}

static void test_copy_of_a_disk(void **state)
{
    struct pair pair = pair_of(state);
    image_make(pair.a, "disk", MIXED_SIZE, mixed, 3, 1);
    struct stack_file from = in_dir(pair.a, "disk"), to = in_dir(pair.b, "disk");
    struct stack_result result;
    struct error err = {0};
    assert_int_equal(stack_copy(&from, &to, &result, &err), 0);
    assert_int_equal(result.method, pair.to->reflinks ? STACK_REFLINK : STACK_SPARSE_COPY);
    assert_int_equal(result.fallback_errno, 0);
    assert_int_equal(result.link_count, 1);
    assert_int_equal(link_count_of(pair.a, "disk"), 1);
    image_assert(pair.b, "disk", MIXED_SIZE, mixed, 3, 1);
    struct stat st;
    assert_int_equal(fstatat(pair.b, "disk", &st, 0), 0);
    assert_int_equal(st.st_mode & 07777, 0640);
    assert_int_equal(stack_copy(&from, &to, &result, &err), -EEXIST);
    pair_remove(&pair);
}

/* A private copy is private: writing it does not reach the other, reflinked or not. */
static void test_copy_is_private(void **state)
{
    struct pair pair = pair_of(state);
    image_make(pair.a, "disk", MIXED_SIZE, mixed, 3, 1);
    struct stack_file from = in_dir(pair.a, "disk"), to = in_dir(pair.b, "disk");
    struct stack_result result;
    struct error err = {0};
    assert_int_equal(stack_copy(&from, &to, &result, &err), 0);
    int fd = stack_open_writable(&to, &err);
    assert_true(fd >= 0);
    assert_int_equal(file_pwrite_exact(fd, "changed", 7, 64 * KIB, "disk", &err), 0);
    close(fd);
    image_assert(pair.a, "disk", MIXED_SIZE, mixed, 3, 1);
    pair_remove(&pair);
}

static const struct fs_case cases[] = {
    {"holes everywhere", test_shapes},
    {"a source that reports no holes", test_source_reports_no_holes},
    {"a source of written zeros", test_written_zeros},
    {"no sparse files: an error, no dense copy", test_no_sparse_files},
    {"no space half way", test_no_space},
    {"each step fails", test_failing_steps},
    {"killed at each step", test_killed},
    {"copy of a disk", test_copy_of_a_disk},
    {"a copy is private", test_copy_is_private},
};

int main(void)
{
    return run_on_each("copy", cases, ARRAY_SIZE(cases), NULL, 0);
}
