/* SPDX-License-Identifier: Apache-2.0 */
/* Publishing directories whole, and sweeping what was half-made. */
#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/cleanup.h"
#include "base/file.h"
#include "fixture.h"

#define TEMPORARY "snapshot.tine-tmp-0123456789abcdef"

static const struct extent data[] = {{0, 5000}};

/* A half-made directory with what a guest directory may hold. */
static struct pair half_made(void **state)
{
    struct pair pair = pair_make(fixture_scratch(*state), fixture_scratch(*state));
    assert_int_equal(mkdirat(pair.a, TEMPORARY, 0700), 0);
    int dir = openat(pair.a, TEMPORARY, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    image_make(dir, "memory", 100000, data, 1, 1);
    image_make(dir, "state", 5000, data, 1, 1);
    assert_int_equal(mkdirat(dir, "disks", 0700), 0);
    image_make(dir, "disks/0.img", 5000, data, 1, 1);
    assert_int_equal(mkfifoat(dir, "fifo", 0600), 0);
    assert_int_equal(symlinkat("nowhere", dir, "symlink"), 0);
    close(dir);
    return pair;
}

static void assert_whole(int parent)
{
    int dir = openat(parent, "snapshot", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    assert_true(dir >= 0);
    image_assert(dir, "memory", 100000, data, 1, 1);
    image_assert(dir, "state", 5000, data, 1, 1);
    image_assert(dir, "disks/0.img", 5000, data, 1, 1);
    assert_int_equal(entries_of(dir), 5);
    close(dir);
}

static void test_publish(void **state)
{
    struct pair pair = half_made(state);
    struct error err = {0};
    assert_int_equal(stack_publish_directory(pair.a, TEMPORARY, "snapshot", &err), 0);
    assert_whole(pair.a);
    assert_int_equal(entries_of(pair.a), 1);
    pair_remove(&pair);
}

static void test_over_an_empty_directory(void **state)
{
    struct pair pair = half_made(state);
    assert_int_equal(mkdirat(pair.a, "snapshot", 0700), 0);
    assert_int_equal(stack_publish_directory(pair.a, TEMPORARY, "snapshot", NULL), 0);
    assert_whole(pair.a);
    pair_remove(&pair);
}

static void test_final_name_taken(void **state)
{
    struct pair pair = half_made(state);
    struct error err = {0};
    assert_int_equal(mkdirat(pair.a, "snapshot", 0700), 0);
    image_make(pair.a, "snapshot/precious", 10, NULL, 0, 0);
    int r = stack_publish_directory(pair.a, TEMPORARY, "snapshot", &err);
    assert_true(r == -ENOTEMPTY || r == -EEXIST);
    assert_non_null(strstr(err.message, "publish snapshot"));
    assert_true(is_there(pair.a, "snapshot/precious"));
    assert_true(is_there(pair.a, TEMPORARY));
    assert_int_equal(tree_remove(pair.a, "snapshot", NULL), 0);
    image_make(pair.a, "snapshot", 10, NULL, 0, 0);
    assert_int_equal(stack_publish_directory(pair.a, TEMPORARY, "snapshot", &err), -ENOTDIR);
    assert_int_equal(unlinkat(pair.a, "snapshot", 0), 0);
    assert_int_equal(symlinkat("nowhere", pair.a, "snapshot"), 0);
    assert_int_equal(stack_publish_directory(pair.a, TEMPORARY, "snapshot", &err), -ENOTDIR);
    pair_remove(&pair);
}

static void test_bad_source(void **state)
{
    struct pair pair = pair_make(fixture_scratch(*state), fixture_scratch(*state));
    struct error err = {0};
    assert_int_equal(stack_publish_directory(pair.a, "missing", "snapshot", &err), -ENOENT);
    assert_non_null(strstr(err.message, "missing"));
    image_make(pair.a, "file", 10, NULL, 0, 0);
    assert_int_equal(stack_publish_directory(pair.a, "file", "snapshot", &err), -ENOTDIR);
    assert_int_equal(mkdirat(pair.a, "dir", 0700), 0);
    assert_int_equal(symlinkat("dir", pair.a, "symlink"), 0);
    int r = stack_publish_directory(pair.a, "symlink", "snapshot", &err);
    assert_true(r == -ELOOP || r == -ENOTDIR);
    assert_false(is_there(pair.a, "snapshot"));
    pair_remove(&pair);
}

static void test_too_deep(void **state)
{
    struct pair pair = pair_make(fixture_scratch(*state), fixture_scratch(*state));
    char path[256] = TEMPORARY;
    for (size_t length = strlen(path), i = 0; i < 20; i++, length += 2) {
        assert_int_equal(mkdirat(pair.a, path, 0700), 0);
        snprintf(path + length, sizeof(path) - length, "/d");
    }
    assert_int_equal(stack_publish_directory(pair.a, TEMPORARY, "snapshot", NULL), -ELOOP);
    pair_remove(&pair);
}

static void publish_in_child(void *context)
{
    const struct pair *pair = context;
    child_check(stack_publish_directory(pair->a, TEMPORARY, "snapshot", NULL) == 0, "publish");
}

static void test_killed(void **state)
{
    struct pair pair = half_made(state);
    struct error err = {0};
    failpoints("stack-publish-before-rename");
    assert_true(was_killed(in_child(publish_in_child, &pair)));
    failpoints(NULL);
    assert_false(is_there(pair.a, "snapshot"));
    assert_int_equal(stack_sweep(pair.a, "guest", &err), 1);
    assert_int_equal(entries_of(pair.a), 0);
    pair_remove(&pair);

    pair = half_made(state);
    failpoints("stack-publish-after-rename");
    assert_true(was_killed(in_child(publish_in_child, &pair)));
    failpoints(NULL);
    assert_whole(pair.a);
    assert_int_equal(stack_sweep(pair.a, "guest", &err), 0);
    pair_remove(&pair);
}

static void test_failing_rename(void **state)
{
    struct pair pair = half_made(state);
    struct error err = {0};
    failpoints("stack-publish-before-rename=EIO");
    assert_int_equal(stack_publish_directory(pair.a, TEMPORARY, "snapshot", &err), -EIO);
    failpoints(NULL);
    assert_false(is_there(pair.a, "snapshot"));
    assert_int_equal(stack_publish_directory(pair.a, TEMPORARY, "snapshot", &err), 0);
    assert_whole(pair.a);
    pair_remove(&pair);
}

/* What is to be replaced: a directory with one name in it. */
static struct pair half_made_beside_old(void **state)
{
    struct pair pair = half_made(state);
    assert_int_equal(mkdirat(pair.a, "snapshot", 0700), 0);
    image_make(pair.a, "snapshot/old", 10, NULL, 0, 0);
    return pair;
}

static void test_exchange(void **state)
{
    struct pair pair = half_made_beside_old(state);
    struct error err = {0};
    ino_t inode = inode_of(pair.a, TEMPORARY);
    assert_int_equal(stack_exchange_directories(pair.a, TEMPORARY, "snapshot", &err), 0);
    assert_whole(pair.a);
    assert_int_equal(inode_of(pair.a, "snapshot"), inode);
    assert_true(is_there(pair.a, TEMPORARY "/old"));
    /* And back. */
    assert_int_equal(stack_exchange_directories(pair.a, TEMPORARY, "snapshot", &err), 0);
    assert_true(is_there(pair.a, "snapshot/old"));
    assert_true(is_there(pair.a, TEMPORARY "/memory"));
    pair_remove(&pair);
}

static void test_exchange_that_fails(void **state)
{
    struct pair pair = half_made(state);
    struct error err = {0};
    assert_int_equal(stack_exchange_directories(pair.a, TEMPORARY, "snapshot", &err), -ENOENT);
    assert_non_null(strstr(err.message, "snapshot"));
    assert_int_equal(stack_exchange_directories(pair.a, "missing", TEMPORARY, &err), -ENOENT);
    pair_remove(&pair);
    pair = half_made_beside_old(state);
    failpoints("stack-exchange-before-sync=EIO");
    assert_int_equal(stack_exchange_directories(pair.a, TEMPORARY, "snapshot", &err), -EIO);
    failpoints(NULL);
    assert_true(is_there(pair.a, "snapshot/old"));
    assert_true(is_there(pair.a, TEMPORARY "/memory"));
    pair_remove(&pair);
}

static void test_sweep(void **state)
{
    struct pair pair = half_made(state);
    image_make(pair.a, "memory.tine-tmp-00000000000000ff", 10, NULL, 0, 0);
    image_make(pair.a, "memory", 10, NULL, 0, 0);
    image_make(pair.a, ".tine-tmp-00000000000000ff", 10, NULL, 0, 0);
    image_make(pair.a, "tine-tmp-00000000000000ff", 10, NULL, 0, 0);
    assert_int_equal(mkdirat(pair.a, "base", 0700), 0);
    /* A half-made name that is a symbolic link: the link goes, not what it names. */
    image_make(pair.b, "precious", 10, NULL, 0, 0);
    assert_int_equal(symlinkat(pair.to_path, pair.a, "x.tine-tmp-00000000000000ff"), 0);
    struct error err = {0};
    assert_int_equal(stack_sweep(pair.a, "guest", &err), 4);
    assert_int_equal(entries_of(pair.a), 3); /* memory, tine-tmp-..., base */
    assert_true(is_there(pair.b, "precious"));
    assert_int_equal(stack_sweep(pair.a, "guest", &err), 0);
    /* A descriptor that is no directory. */
    int fd = openat(pair.b, "precious", O_RDONLY | O_CLOEXEC);
    assert_int_equal(stack_sweep(fd, "guest", &err), -ENOTDIR);
    assert_non_null(strstr(err.message, "guest"));
    close(fd);
    pair_remove(&pair);
}

static const struct fs_case cases[] = {
    {"publish a directory", test_publish},
    {"over an empty directory", test_over_an_empty_directory},
    {"the final name is taken", test_final_name_taken},
    {"no such directory", test_bad_source},
    {"nested too deep", test_too_deep},
    {"killed before and after", test_killed},
    {"the rename fails", test_failing_rename},
    {"exchange", test_exchange},
    {"an exchange that fails", test_exchange_that_fails},
    {"sweep", test_sweep},
};

int main(void)
{
    return run_on_each("publish", cases, ARRAY_SIZE(cases), NULL, 0);
}
