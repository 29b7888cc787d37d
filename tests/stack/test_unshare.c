/* SPDX-License-Identifier: Apache-2.0 */
/* Unsharing: the other owners never notice. */
#include <errno.h>
#include <fcntl.h>
#include <linux/fs.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <sys/vfs.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/cleanup.h"
#include "base/file.h"
#include "fixture.h"

#define KIB  ((uint64_t)1 << 10)
#define SIZE (512 * KIB + 77)

static const struct extent data[] = {{32 * KIB, 16 * KIB}, {256 * KIB, 64 * KIB}};

/* An image with two names: "a/memory", ours, and "b/sibling". */
static struct pair shared_pair(void **state)
{
    struct pair pair = pair_make(fixture_scratch(*state), fixture_scratch(*state));
    image_make(pair.a, "memory", SIZE, data, 2, 3);
    assert_int_equal(linkat(pair.a, "memory", pair.b, "sibling", 0), 0);
    return pair;
}

static void assert_sibling_untouched(const struct pair *pair, const struct stat *before)
{
    struct stat st;
    assert_int_equal(fstatat(pair->b, "sibling", &st, AT_SYMLINK_NOFOLLOW), 0);
    assert_int_equal(st.st_ino, before->st_ino);
    assert_int_equal(st.st_size, before->st_size);
    assert_int_equal(st.st_mode, before->st_mode);
    assert_int_equal(st.st_mtim.tv_sec, before->st_mtim.tv_sec);
    assert_int_equal(st.st_mtim.tv_nsec, before->st_mtim.tv_nsec);
    image_assert(pair->b, "sibling", SIZE, data, 2, 3);
}

static struct stat sibling_of(const struct pair *pair)
{
    struct stat st;
    assert_int_equal(fstatat(pair->b, "sibling", &st, AT_SYMLINK_NOFOLLOW), 0);
    return st;
}

static int unshare_memory(const struct pair *pair, struct stack_result *result, struct error *err)
{
    struct stack_file file = in_dir(pair->a, "memory");
    return stack_unshare(&file, result, err);
}

static void test_only_owner(void **state)
{
    struct pair pair = pair_make(fixture_scratch(*state), fixture_scratch(*state));
    image_make(pair.a, "memory", SIZE, data, 2, 3);
    ino_t inode = inode_of(pair.a, "memory");
    struct stack_result result;
    assert_int_equal(unshare_memory(&pair, &result, NULL), 0);
    assert_int_equal(result.method, STACK_LINK);
    assert_int_equal(result.bytes_copied, 0);
    assert_int_equal(result.link_count, 1);
    assert_int_equal(inode_of(pair.a, "memory"), inode);
    pair_remove(&pair);
}

static void test_missing(void **state)
{
    struct pair pair = pair_make(fixture_scratch(*state), fixture_scratch(*state));
    struct stack_result result;
    assert_int_equal(unshare_memory(&pair, &result, NULL), 0);
    assert_int_equal(result.method, STACK_LINK);
    assert_int_equal(result.bytes_copied, 0);
    assert_int_equal(result.link_count, 0);
    pair_remove(&pair);
}

/* XFS must not reserve room behind what is written: its SEEK_DATA may take data for holes there. */
static void assert_no_reserve(const struct pair *pair, int fd)
{
    struct fsxattr attributes;
    struct statfs fs;
    if (strcmp(pair->to->type, "xfs") != 0)
        return;
    assert_int_equal(fstatfs(fd, &fs), 0);
    assert_int_equal(ioctl(fd, FS_IOC_FSGETXATTR, &attributes), 0);
    assert_true(attributes.fsx_xflags & FS_XFLAG_COWEXTSIZE);
    assert_int_equal(attributes.fsx_cowextsize, fs.f_bsize);
}

static void test_shared(void **state)
{
    struct pair pair = shared_pair(state);
    struct stat sibling = sibling_of(&pair);
    struct stack_result result;
    assert_int_equal(unshare_memory(&pair, &result, NULL), 0);
    assert_int_equal(result.method, pair.to->reflinks ? STACK_REFLINK : STACK_SPARSE_COPY);
    assert_int_equal(result.bytes_copied, pair.to->reflinks ? 0 : 80 * KIB);
    assert_int_equal(result.link_count, 1);
    assert_int_not_equal(inode_of(pair.a, "memory"), sibling.st_ino);
    assert_int_equal(link_count_of(pair.a, "memory"), 1);
    assert_int_equal(link_count_of(pair.b, "sibling"), 1);
    image_assert(pair.a, "memory", SIZE, data, 2, 3);
    image_assert_sparse(pair.a, "memory", 192 * KIB);
    assert_sibling_untouched(&pair, &sibling);
    /* And now it may be written, without the sibling seeing it. */
    struct stack_file file = in_dir(pair.a, "memory");
    int fd = stack_open_writable(&file, NULL);
    assert_true(fd >= 0);
    assert_no_reserve(&pair, fd);
    assert_int_equal(pwrite(fd, "dirty", 5, 32 * KIB), 5);
    close(fd);
    assert_sibling_untouched(&pair, &sibling);
    assert_int_equal(entries_of(pair.a), 1);
    pair_remove(&pair);
}

/* Where it would be a copy nothing happens. */
static void test_by_reflink(void **state)
{
    struct pair pair = shared_pair(state);
    struct stat sibling = sibling_of(&pair);
    struct stack_file file = in_dir(pair.a, "memory");
    struct stack_result result;
    assert_int_equal(stack_unshare_by_reflink(&file, &result, NULL), 0);
    assert_int_equal(result.method, pair.to->reflinks ? STACK_REFLINK : STACK_LINK);
    assert_int_equal(result.bytes_copied, 0);
    assert_int_equal(result.link_count, pair.to->reflinks ? 1 : 2);
    assert_true((inode_of(pair.a, "memory") == sibling.st_ino) != pair.to->reflinks);
    image_assert(pair.a, "memory", SIZE, data, 2, 3);
    assert_sibling_untouched(&pair, &sibling);
    assert_int_equal(entries_of(pair.a), 1);
    /* For want of room it is an error, though. */
    struct error err = {0};
    if (!pair.to->reflinks) {
        failpoints("stack-share-reflink=ENOSPC");
        assert_int_equal(stack_unshare_by_reflink(&file, &result, &err), -ENOSPC);
        failpoints(NULL);
        assert_int_equal(link_count_of(pair.a, "memory"), 2);
        assert_int_equal(entries_of(pair.a), 1);
    }
    assert_int_equal(unlinkat(pair.b, "sibling", 0), 0);
    assert_int_equal(stack_unshare_by_reflink(&file, &result, NULL), 0);
    assert_int_equal(result.link_count, 1);
    assert_int_equal(result.method, STACK_LINK);
    pair_remove(&pair);
}

static void test_failing_steps(void **state)
{
    static const char *const lists[] = {
        "stack-stat=EACCES",
        "stack-stat=EIO",
        "stack-share-reflink=EIO",
        "stack-share-sync=EIO",
        "stack-unshare-before-rename=ENOSPC",
        "stack-share-sync=ENOSPC",
    };
    struct pair pair = shared_pair(state);
    struct stat sibling = sibling_of(&pair);
    for (size_t i = 0; i < ARRAY_SIZE(lists); i++) {
        struct stack_result result;
        struct error err = {0};
        failpoints(lists[i]);
        assert_true(unshare_memory(&pair, &result, &err) < 0);
        failpoints(NULL);
        assert_non_null(strstr(err.message, "memory"));
        assert_int_equal(inode_of(pair.a, "memory"), sibling.st_ino);
        assert_int_equal(entries_of(pair.a), 1);
        assert_sibling_untouched(&pair, &sibling);
    }
    pair_remove(&pair);
}

static void unshare_in_child(void *context)
{
    struct stack_result result;
    child_check(unshare_memory(context, &result, NULL) == 0, "unshare");
}

static void test_killed(void **state)
{
    static const char *const points[] = {"stack-share-sync", "stack-unshare-before-rename",
                                         "stack-unshare-after-rename"};
    for (size_t i = 0; i < ARRAY_SIZE(points); i++) {
        struct pair pair = shared_pair(state);
        struct stat sibling = sibling_of(&pair);
        failpoints(points[i]);
        assert_true(was_killed(in_child(unshare_in_child, &pair)));
        failpoints(NULL);
        bool replaced = i == 2;
        assert_int_equal(inode_of(pair.a, "memory") != sibling.st_ino, replaced);
        assert_int_equal(entries_of(pair.a), replaced ? 1 : 2);
        image_assert(pair.a, "memory", SIZE, data, 2, 3);
        assert_sibling_untouched(&pair, &sibling);
        struct stack_result result;
        assert_int_equal(unshare_memory(&pair, &result, NULL), 0);
        assert_int_equal(entries_of(pair.a), 1); /* the half-made one was swept */
        assert_int_equal(link_count_of(pair.a, "memory"), 1);
        image_assert(pair.a, "memory", SIZE, data, 2, 3);
        assert_sibling_untouched(&pair, &sibling);
        pair_remove(&pair);
    }
}

/* Left-overs are swept by the exact name: those of other images are not ours. */
static void test_stale_temporaries(void **state)
{
    static const char *const names[] = {
        "memory.tine-tmp-0123456789abcdef",       /* swept */
        "memory.tine-tmp-fedcba9876543210",       /* swept */
        "memory2.tine-tmp-0123456789abcdef",      /* another image's */
        "memory.tine-tmp-0123456789abcdeg",       /* not a mark */
        "memory.x.tine-tmp-0123456789abcdef",     /* another image's */
        "memory.tine-tmp-0123456789abcdef.saved", /* not a mark at the end */
    };
    struct pair pair = shared_pair(state);
    for (size_t i = 0; i < ARRAY_SIZE(names); i++)
        image_make(pair.a, names[i], 10, NULL, 0, 0);
    struct stack_result result;
    assert_int_equal(unshare_memory(&pair, &result, NULL), 0);
    for (size_t i = 0; i < ARRAY_SIZE(names); i++)
        assert_int_equal(is_there(pair.a, names[i]), i >= 2);
    pair_remove(&pair);
}

static void test_not_a_file(void **state)
{
    struct pair pair = pair_make(fixture_scratch(*state), fixture_scratch(*state));
    struct stack_result result;
    image_make(pair.a, "target", 10, NULL, 0, 0);
    assert_int_equal(symlinkat("target", pair.a, "memory"), 0);
    assert_int_equal(unshare_memory(&pair, &result, NULL), -ELOOP);
    assert_int_equal(unlinkat(pair.a, "memory", 0), 0);
    assert_int_equal(mkdirat(pair.a, "memory", 0700), 0);
    assert_int_equal(unshare_memory(&pair, &result, NULL), -EISDIR);
    assert_int_equal(unlinkat(pair.a, "memory", AT_REMOVEDIR), 0);
    assert_int_equal(mkfifoat(pair.a, "memory", 0600), 0);
    assert_int_equal(unshare_memory(&pair, &result, NULL), -EINVAL);
    pair_remove(&pair);
}

static const struct fs_case cases[] = {
    {"the only owner keeps its inode", test_only_owner},
    {"nothing there is nothing to do", test_missing},
    {"a shared image gets a private copy", test_shared},
    {"a shared image that only a reflink may unshare", test_by_reflink},
    {"each step fails", test_failing_steps},
    {"killed at each step", test_killed},
    {"stale temporaries", test_stale_temporaries},
    {"what is not a regular file", test_not_a_file},
};

int main(void)
{
    return run_on_each("unshare", cases, ARRAY_SIZE(cases), NULL, 0);
}
