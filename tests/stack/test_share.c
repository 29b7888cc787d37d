/* SPDX-License-Identifier: Apache-2.0 */
/* Sharing images on real file systems: links, and when something else takes their place. */
#include <errno.h>
#include <fcntl.h>
#include <linux/fs.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/cleanup.h"
#include "base/file.h"
#include "shared.h"
#include "stack/copy.h"

static void test_link(void **state)
{
    struct pair pair = pair_of(state);
    image_make(pair.a, "memory", MIXED_SIZE, mixed, 3, 1);
    fixture_log_start();
    struct stack_result result = share_works(&pair);
    char log[256];
    assert_int_equal(fixture_log_take(log, sizeof(log)), 0);
    assert_int_equal(result.method, STACK_LINK);
    assert_int_equal(result.bytes_copied, 0);
    assert_int_equal(result.link_count, 2);
    assert_int_equal(result.fallback_errno, 0);
    assert_int_equal(inode_of(pair.a, "memory"), inode_of(pair.b, "fork"));
    assert_int_equal(link_count_of(pair.a, "memory"), 2);
    pair_remove(&pair);
}

static void test_twenty_five_links(void **state)
{
    struct pair pair = pair_of(state);
    image_make(pair.a, "memory", MIXED_SIZE, mixed, 3, 1);
    for (unsigned i = 0; i < 25; i++) {
        char name[16];
        snprintf(name, sizeof(name), "fork%u", i);
        struct stack_file from = in_dir(pair.a, "memory"), to = in_dir(pair.b, name);
        struct stack_result result;
        assert_int_equal(stack_share(&from, &to, &result, NULL), 0);
        assert_int_equal(result.link_count, i + 2);
    }
    assert_int_equal(unlinkat(pair.a, "memory", 0), 0); /* the source may go */
    image_assert(pair.b, "fork7", MIXED_SIZE, mixed, 3, 1);
    pair_remove(&pair);
}

/* EXDEV for real: another mount. */
static void test_other_file_system(void **state)
{
    struct pair pair = pair_across(state);
    image_make(pair.a, "memory", MIXED_SIZE, mixed, 3, 1);
    uint64_t before = stack_fallback_count(EXDEV);
    fixture_log_start();
    struct stack_result result = share_works(&pair);
    char log[512];
    assert_int_equal(fixture_log_take(log, sizeof(log)), 1);
    assert_non_null(strstr(log, "WARNING"));
    assert_non_null(strstr(log, "link memory -> fork"));
    assert_non_null(strstr(log, "EXDEV"));
    assert_int_equal(stack_fallback_count(EXDEV), before + 1);
    assert_int_equal(result.method, STACK_SPARSE_COPY);
    assert_int_equal(result.fallback_errno, EXDEV);
    assert_int_equal(result.link_count, 1);
    assert_in_range(result.bytes_copied, 8 * KIB + 5000 + 128 * KIB, 160 * KIB);
    image_assert(pair.b, "fork", MIXED_SIZE, mixed, 3, 1);
    image_assert_sparse(pair.b, "fork", MIXED_ALLOCATED);
    assert_int_equal(entries_of(pair.b), 1);
    pair_remove(&pair);
}

/* EXDEV for real, yet the same file system: two mounts of it. There a reflink works. */
static void test_other_mount(void **state)
{
    struct pair pair = pair_of(state);
    image_make(pair.a, "memory", MIXED_SIZE, mixed, 3, 1);
    assert_int_equal(mount(pair.to_path, pair.to_path, NULL, MS_BIND, NULL), 0);
    close(pair.b);
    pair.b = open(pair.to_path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    struct stack_result result = share_works(&pair);
    assert_int_equal(result.fallback_errno, EXDEV);
    assert_int_equal(result.method, pair.to->reflinks ? STACK_REFLINK : STACK_SPARSE_COPY);
    assert_true((result.bytes_copied == 0) == pair.to->reflinks);
    assert_int_not_equal(inode_of(pair.a, "memory"), inode_of(pair.b, "fork"));
    image_assert(pair.b, "fork", MIXED_SIZE, mixed, 3, 1);
    close(pair.b);
    assert_int_equal(umount(pair.to_path), 0);
    pair.b = open(pair.to_path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    pair_remove(&pair);
}

static int set_flag(int dirfd, const char *name, int flag, bool on)
{
    int fd = openat(dirfd, name, O_RDONLY | O_CLOEXEC);
    int flags = 0;
    int r = ioctl(fd, FS_IOC_GETFLAGS, &flags);
    flags = on ? flags | flag : flags & ~flag;
    if (r == 0)
        r = ioctl(fd, FS_IOC_SETFLAGS, &flags);
    close(fd);
    return r;
}

/* EPERM for real: immutable and append-only files can't be linked. */
static void share_flagged(void **state, int flag)
{
    struct pair pair = pair_of(state);
    image_make(pair.a, "memory", MIXED_SIZE, mixed, 3, 1);
    bool flagged = set_flag(pair.a, "memory", flag, true) == 0;
    if (!flagged) { /* tmpfs before Linux 6.6 has no such flags: the refusal is made up */
        assert_string_equal(*state, "tmpfs");
        failpoints("stack-share-link=EPERM");
    }
    struct stack_result result = share_works(&pair);
    failpoints(NULL);
    assert_int_equal(result.fallback_errno, EPERM);
    assert_int_equal(result.method, pair.to->reflinks ? STACK_REFLINK : STACK_SPARSE_COPY);
    image_assert(pair.b, "fork", MIXED_SIZE, mixed, 3, 1);
    if (flagged)
        assert_int_equal(set_flag(pair.a, "memory", flag, false), 0);
    pair_remove(&pair);
}

static void test_immutable(void **state)
{
    share_flagged(state, FS_IMMUTABLE_FL);
}

static void test_append_only(void **state)
{
    share_flagged(state, FS_APPEND_FL);
}

struct outcome {
    const struct pair *pair;
    int expected;
    int fallback;
};

static void share_as_nobody(void *context)
{
    const struct outcome *outcome = context;
    struct stack_file from = in_dir(outcome->pair->a, "memory");
    struct stack_file to = in_dir(outcome->pair->b, "fork");
    struct stack_result result;
    child_check(setgid(65534) == 0 && setuid(65534) == 0, "setuid");
    child_check(stack_share(&from, &to, &result, NULL) == outcome->expected, "the result");
    child_check(outcome->expected < 0 || result.fallback_errno == outcome->fallback, "the errno");
}

/* EPERM for real: protected_hardlinks, a file of another user that can be read but not written. */
static void test_protected_hardlinks(void **state)
{
    char setting[4] = "0";
    int fd = open("/proc/sys/fs/protected_hardlinks", O_RDONLY | O_CLOEXEC);
    assert_int_equal(read(fd, setting, 1), 1);
    close(fd);
    struct pair pair = pair_of(state);
    image_make(pair.a, "memory", MIXED_SIZE, mixed, 3, 1);
    assert_int_equal(fchmodat(pair.a, "memory", 0644, 0), 0);
    assert_int_equal(fchmod(pair.b, 0777), 0);
    struct outcome outcome = {.pair = &pair, .fallback = setting[0] == '1' ? EPERM : 0};
    assert_int_equal(in_child(share_as_nobody, &outcome), 0);
    image_assert(pair.b, "fork", MIXED_SIZE, mixed, 3, 1);
    pair_remove(&pair);
}

/* R6: an image that can't be looked at is an error, not a reason to copy. */
static void test_unreadable_directory(void **state)
{
    struct pair pair = pair_of(state);
    image_make(pair.a, "memory", MIXED_SIZE, mixed, 3, 1);
    assert_int_equal(fchmod(pair.a, 0700), 0);
    assert_int_equal(fchmod(pair.b, 0777), 0);
    struct outcome outcome = {.pair = &pair, .expected = -EACCES};
    assert_int_equal(in_child(share_as_nobody, &outcome), 0);
    assert_int_equal(entries_of(pair.b), 0);
    pair_remove(&pair);
}

/* Every other failure of link(2) stops: nothing is copied. */
static void test_other_errors_stop(void **state)
{
    static const int others[] = {ENOSPC, EIO,    EACCES, EROFS, EDQUOT,
                                 ENOMEM, EINVAL, ENOENT, ESTALE};
    struct pair pair = pair_of(state);
    image_make(pair.a, "memory", MIXED_SIZE, mixed, 3, 1);
    for (size_t i = 0; i < ARRAY_SIZE(others); i++) {
        char list[64];
        snprintf(list, sizeof(list), "stack-share-link=%s", errno_name(others[i]));
        failpoints(list);
        share_fails(&pair, others[i], "link memory -> fork");
        assert_int_equal(entries_of(pair.b), 0);
    }
    failpoints("stack-stat=EACCES");
    share_fails(&pair, EACCES, "stat memory");
    failpoints(NULL);
    pair_remove(&pair);
}

static void test_each_curable_errno(void **state)
{
    static const int curable[] = {EXDEV, EPERM, EOPNOTSUPP};
    struct pair pair = pair_of(state);
    image_make(pair.a, "memory", MIXED_SIZE, mixed, 3, 1);
    for (size_t i = 0; i < ARRAY_SIZE(curable); i++) {
        char list[64];
        uint64_t before = stack_fallback_count(curable[i]);
        snprintf(list, sizeof(list), "stack-share-link=%s", errno_name(curable[i]));
        failpoints(list);
        struct stack_result result = share_works(&pair);
        failpoints(NULL);
        assert_int_equal(result.fallback_errno, curable[i]);
        assert_int_equal(result.method, pair.to->reflinks ? STACK_REFLINK : STACK_SPARSE_COPY);
        assert_int_equal(stack_fallback_count(curable[i]), before + 1);
        image_assert(pair.b, "fork", MIXED_SIZE, mixed, 3, 1);
        assert_int_equal(unlinkat(pair.b, "fork", 0), 0);
    }
    pair_remove(&pair);
}

static void test_bad_names(void **state)
{
    static const struct {
        const char *name;
        int errnum;
    } bad[] = {{"missing", ENOENT}, {"symlink", ELOOP},   {"dangling", ELOOP},
               {"dir", EISDIR},     {"fifo", EINVAL},     {"memory/x", ENOTDIR},
               {"loop/x", ELOOP},   {"missing/x", ENOENT}};
    struct pair pair = pair_of(state);
    image_make(pair.a, "memory", MIXED_SIZE, mixed, 3, 1);
    assert_int_equal(symlinkat("memory", pair.a, "symlink"), 0);
    assert_int_equal(symlinkat("nowhere", pair.a, "dangling"), 0);
    assert_int_equal(symlinkat("loop", pair.a, "loop"), 0);
    assert_int_equal(mkdirat(pair.a, "dir", 0700), 0);
    assert_int_equal(mkfifoat(pair.a, "fifo", 0600), 0);
    for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
        struct stack_file from = in_dir(pair.a, bad[i].name), to = in_dir(pair.b, "fork");
        struct stack_result result;
        struct stack_stat stat;
        struct error err = {0};
        assert_int_equal(stack_share(&from, &to, &result, &err), -bad[i].errnum);
        assert_non_null(strstr(err.message, bad[i].name));
        assert_int_equal(stack_copy(&from, &to, &result, &err), -bad[i].errnum);
        assert_int_equal(stack_stat(&from, &stat, &err), -bad[i].errnum);
        assert_int_equal(stack_open_writable(&from, &err), -bad[i].errnum);
        assert_int_equal(stack_check_size(&from, 1, &err), -bad[i].errnum);
        assert_int_equal(entries_of(pair.b), 0);
    }
    pair_remove(&pair);
}

static void test_destination_exists(void **state)
{
    struct pair pair = pair_of(state);
    struct pair across = pair_across(state);
    image_make(pair.a, "memory", MIXED_SIZE, mixed, 3, 1);
    image_make(pair.b, "fork", 10, NULL, 0, 0);
    image_make(across.a, "memory", MIXED_SIZE, mixed, 3, 1);
    assert_int_equal(symlinkat("nowhere", across.b, "fork"), 0); /* a dangling link is there, too */
    share_fails(&pair, EEXIST, "fork");
    share_fails(&across, EEXIST, "fork");
    image_assert(pair.b, "fork", 10, NULL, 0, 0);
    assert_int_equal(entries_of(across.b), 1);
    pair_remove(&pair);
    pair_remove(&across);
}

/* The destination appears while the copy is made: it is not overwritten. */
static void test_destination_appears(void **state)
{
    static const struct copy_publication how = {.before_rename = "none", .after_rename = "none"};
    struct pair pair = pair_across(state);
    image_make(pair.a, "memory", MIXED_SIZE, mixed, 3, 1);
    struct stack_file from = in_dir(pair.a, "memory"), to = in_dir(pair.b, "fork");
    struct stack_result result = {.bytes_copied = 0};
    struct temporary temporary = {.dirfd = -1};
    struct error err = {0};
    assert_int_equal(copy_make(&from, &to, COPY_ANY, &temporary, &result, &err), 0);
    image_make(pair.b, "fork", 10, NULL, 0, 0);
    assert_int_equal(copy_publish(&to, &temporary, &how, &err), -EEXIST);
    cleanup_temporary(&temporary);
    image_assert(pair.b, "fork", 10, NULL, 0, 0);
    assert_int_equal(entries_of(pair.b), 1);
    pair_remove(&pair);
}

static void test_stat(void **state)
{
    struct pair pair = pair_of(state);
    image_make(pair.a, "disk", MIXED_SIZE, mixed, 3, 1);
    struct stack_stat stat;
    struct stack_file file = in_dir(pair.a, "disk");
    assert_int_equal(stack_stat(&file, &stat, NULL), 0);
    assert_int_equal(stat.size, MIXED_SIZE);
    assert_int_equal(stat.link_count, 1);
    assert_int_equal(stat.inode, inode_of(pair.a, "disk"));
    assert_int_equal(stack_check_size(&file, MIXED_SIZE, NULL), 0);
    struct error err = {0};
    assert_int_equal(stack_check_size(&file, MIXED_SIZE + 1, &err), -EINVAL);
    assert_int_equal(err.code, ERROR_CORRUPT);
    assert_non_null(strstr(err.message, "3145851"));
    assert_non_null(strstr(err.message, "3145852"));
    pair_remove(&pair);
}

static void test_open_writable_refuses_shared(void **state)
{
    struct pair pair = pair_of(state);
    image_make(pair.a, "memory", MIXED_SIZE, mixed, 3, 1);
    struct stack_file file = in_dir(pair.a, "memory");
    struct error err = {0};
    int fd = stack_open_writable(&file, &err);
    assert_true(fd >= 0);
    close(fd);
    share_works(&pair);
    assert_int_equal(stack_open_writable(&file, &err), -EMLINK);
    assert_non_null(strstr(err.message, "memory has 2 names"));
    assert_int_equal(unlinkat(pair.b, "fork", 0), 0);
    fd = stack_open_writable(&file, &err);
    assert_true(fd >= 0);
    close(fd);
    pair_remove(&pair);
}

static const struct fs_case cases[] = {
    {"a link moves no byte", test_link},
    {"twenty-five links outlive their source", test_twenty_five_links},
    {"another file system: a sparse copy, one warning", test_other_file_system},
    {"another mount of the same: a reflink where there is one", test_other_mount},
    {"an immutable source", test_immutable},
    {"an append-only source", test_append_only},
    {"a source of another user", test_protected_hardlinks},
    {"a directory that can't be searched", test_unreadable_directory},
    {"other errors stop", test_other_errors_stop},
    {"each curable errno", test_each_curable_errno},
    {"what is not a regular file", test_bad_names},
    {"the destination exists", test_destination_exists},
    {"the destination appears meanwhile", test_destination_appears},
    {"stat and size", test_stat},
    {"a shared image is not opened for writing", test_open_writable_refuses_shared},
};

int main(void)
{
    return run_on_each("share", cases, ARRAY_SIZE(cases), NULL, 0);
}
