/* SPDX-License-Identifier: Apache-2.0 */
/* Limits met for real: link counts, bad blocks, files larger than memory. */
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/cleanup.h"
#include "base/file.h"
#include "fixture.h"

#if defined(__SANITIZE_ADDRESS__)
#    define SANITIZED 1
#elif defined(__has_feature)
#    if __has_feature(address_sanitizer)
#        define SANITIZED 1
#    endif
#endif

#define KIB ((uint64_t)1 << 10)
#define MIB ((uint64_t)1 << 20)
#define GIB ((uint64_t)1 << 30)

static const struct extent data[] = {{16 * KIB, 64 * KIB}};
#define SIZE (256 * KIB)

/* Links `name` until its file system refuses; returns the link count. */
static uint64_t link_to_the_limit(int dirfd, const char *name)
{
    for (unsigned i = 0; i < 100000; i++) {
        char target[16];
        snprintf(target, sizeof(target), "l%u", i);
        if (linkat(dirfd, name, dirfd, target, 0) == 0)
            continue;
        assert_int_equal(errno, EMLINK);
        return link_count_of(dirfd, name);
    }
    fail_msg("100000 links and no EMLINK");
    return 0;
}

/* Fork number `i`; returns what stack_share() made of it. */
static struct stack_result share_number(const struct pair *pair, unsigned i)
{
    char name[16];
    snprintf(name, sizeof(name), "fork%u", i);
    struct stack_file from = in_dir(pair->a, "memory"), to = in_dir(pair->b, name);
    struct stack_result result;
    struct error err = {0};
    if (stack_share(&from, &to, &result, &err) != 0)
        fail_msg("%s", err.message);
    return result;
}

/* EMLINK for real: 65000 links on ext4, 65535 on btrfs. One fresh copy takes the next forks. */
static void check_link_limit(const char *type, uint64_t limit)
{
    struct pair pair = pair_make(fixture_scratch(type), fixture_scratch(type));
    image_make(pair.a, "memory", SIZE, data, 1, 5);
    assert_int_equal(link_to_the_limit(pair.a, "memory"), limit);
    fixture_log_start();
    struct stack_result first = share_number(&pair, 1);
    char log[512];
    assert_int_equal(fixture_log_take(log, sizeof(log)), 1);
    assert_non_null(strstr(log, "EMLINK"));
    struct stack_result second = share_number(&pair, 2);
    assert_int_equal(first.method, STACK_LINK);
    assert_int_equal(first.fallback_errno, EMLINK);
    assert_int_equal(first.link_count, 2);
    assert_true((first.bytes_copied == 0) == pair.to->reflinks);
    assert_int_equal(second.method, STACK_LINK);
    assert_int_equal(second.bytes_copied, 0);
    assert_int_equal(second.link_count, 3);
    assert_int_equal(inode_of(pair.b, "fork1"), inode_of(pair.a, "memory.spread-1"));
    assert_int_equal(inode_of(pair.b, "fork2"), inode_of(pair.a, "memory.spread-1"));
    image_assert(pair.b, "fork1", SIZE, data, 1, 5);
    assert_int_equal(link_count_of(pair.a, "memory"), limit);
    pair_remove(&pair);
}

static void test_link_limit_ext4(void **state)
{
    check_link_limit("ext4", 65000);
}

static void test_link_limit_btrfs(void **state)
{
    check_link_limit("btrfs", 65535);
}

/* The first spread copy is full, too: a second one is made. */
static void test_second_spread(void **state)
{
    struct pair pair = pair_make(fixture_scratch("ext4"), fixture_scratch("ext4"));
    image_make(pair.a, "memory", SIZE, data, 1, 5);
    link_to_the_limit(pair.a, "memory");
    share_number(&pair, 0);
    assert_int_equal(mkdirat(pair.a, "more", 0700), 0);
    for (unsigned i = 0; link_count_of(pair.a, "memory.spread-1") < 65000; i++) {
        char name[24];
        snprintf(name, sizeof(name), "more/%u", i);
        assert_int_equal(linkat(pair.a, "memory.spread-1", pair.a, name, 0), 0);
    }
    assert_int_equal(share_number(&pair, 1).link_count, 2);
    assert_int_equal(inode_of(pair.b, "fork1"), inode_of(pair.a, "memory.spread-2"));
    pair_remove(&pair);
}

/* Everything below makes EMLINK up, so that it runs on every file system. */
static struct pair limited_pair(void **state)
{
    struct pair pair = pair_make(fixture_scratch(*state), fixture_scratch(*state));
    image_make(pair.a, "memory", SIZE, data, 1, 5);
    failpoints("stack-share-link=EMLINK");
    return pair;
}

struct fork_thread {
    pthread_t thread;
    const struct pair *pair;
    unsigned number;
    int outcome;
    struct stack_result result;
};

static void *fork_run(void *context)
{
    struct fork_thread *fork = context;
    char name[16];
    snprintf(name, sizeof(name), "fork%u", fork->number);
    struct stack_file from = in_dir(fork->pair->a, "memory"), to = in_dir(fork->pair->b, name);
    fork->outcome = stack_share(&from, &to, &fork->result, NULL);
    return NULL;
}

/* Forks run at once: one copy serves them all. */
static void test_concurrent_forks(void **state)
{
    struct pair pair = limited_pair(state);
    struct fork_thread forks[12];
    for (unsigned i = 0; i < ARRAY_SIZE(forks); i++) {
        forks[i] = (struct fork_thread){.pair = &pair, .number = i};
        assert_int_equal(pthread_create(&forks[i].thread, NULL, fork_run, &forks[i]), 0);
    }
    uint64_t copied = 0;
    for (unsigned i = 0; i < ARRAY_SIZE(forks); i++) {
        assert_int_equal(pthread_join(forks[i].thread, NULL), 0);
        assert_int_equal(forks[i].outcome, 0);
        copied += forks[i].result.bytes_copied;
    }
    assert_int_equal(copied, pair.to->reflinks ? 0 : 64 * KIB);
    assert_int_equal(entries_of(pair.a), 2); /* memory and one spread copy */
    assert_int_equal(link_count_of(pair.a, "memory.spread-1"), 13);
    failpoints(NULL);
    pair_remove(&pair);
}

/* The source changed since its spread copy was made: the copy must not be handed on. */
static void test_stale_spread(void **state)
{
    struct pair pair = limited_pair(state);
    share_number(&pair, 1);
    ino_t stale = inode_of(pair.a, "memory.spread-1");
    assert_int_equal(unlinkat(pair.a, "memory", 0), 0);
    image_make(pair.a, "memory", SIZE, data, 1, 99);
    share_number(&pair, 2);
    assert_int_not_equal(inode_of(pair.b, "fork2"), stale);
    image_assert(pair.b, "fork1", SIZE, data, 1, 5); /* its own link keeps the old content */
    image_assert(pair.b, "fork2", SIZE, data, 1, 99);
    failpoints(NULL);
    pair_remove(&pair);
}

/* Before an image is written its spread copies go. */
static void test_spread_removed_before_writing(void **state)
{
    struct pair pair = limited_pair(state);
    struct stack_file file = in_dir(pair.a, "memory");
    share_number(&pair, 1);
    int fd = stack_open_writable(&file, NULL);
    assert_true(fd >= 0);
    close(fd);
    assert_int_equal(entries_of(pair.a), 1);
    share_number(&pair, 2);
    assert_int_equal(entries_of(pair.a), 2);
    struct stack_result result;
    assert_int_equal(stack_unshare(&file, &result, NULL), 0);
    assert_int_equal(entries_of(pair.a), 1);
    assert_int_equal(link_count_of(pair.b, "fork2"), 1);
    failpoints(NULL);
    pair_remove(&pair);
}

/* No spread copy can be made, or not be linked: an error, or a copy of the fork's own. */
static void test_spread_fails(void **state)
{
    struct pair pair = limited_pair(state);
    struct stack_file from = in_dir(pair.a, "memory"), to = in_dir(pair.b, "fork");
    struct stack_result result;
    struct error err = {0};
    failpoints("stack-share-link=EMLINK,stack-spread-before-rename=EIO");
    assert_int_equal(stack_share(&from, &to, &result, &err), -EIO);
    assert_int_equal(entries_of(pair.a), 1);
    assert_int_equal(entries_of(pair.b), 0);
    failpoints("stack-share-link=EMLINK,stack-spread-link=EPERM");
    assert_int_equal(stack_share(&from, &to, &result, &err), 0);
    assert_int_equal(result.method, pair.to->reflinks ? STACK_REFLINK : STACK_SPARSE_COPY);
    assert_int_equal(link_count_of(pair.b, "fork"), 1);
    failpoints(NULL);
    pair_remove(&pair);
}

static void share_spread_in_child(void *context)
{
    share_number(context, 1);
}

/* Killed while the spread copy is made: the next fork sweeps the half-made one. */
static void test_spread_killed(void **state)
{
    struct pair pair = limited_pair(state);
    failpoints("stack-share-link=EMLINK,stack-spread-before-rename");
    assert_true(was_killed(in_child(share_spread_in_child, &pair)));
    assert_int_equal(entries_of(pair.a), 2);
    assert_false(is_there(pair.a, "memory.spread-1"));
    failpoints("stack-share-link=EMLINK");
    share_number(&pair, 1);
    assert_int_equal(entries_of(pair.a), 2);
    assert_true(is_there(pair.a, "memory.spread-1"));
    failpoints(NULL);
    pair_remove(&pair);
}

/* Finds bytes in a file; all of the image file is mapped. */
static off_t find_bytes(int fd, const void *bytes, size_t length)
{
    struct stat st;
    assert_int_equal(fstat(fd, &st), 0);
    void *map = mmap(NULL, (size_t)st.st_size, PROT_READ, MAP_SHARED, fd, 0);
    assert_true(map != MAP_FAILED);
    const char *found = memmem(map, (size_t)st.st_size, bytes, length);
    off_t offset = found ? found - (const char *)map : -1;
    munmap(map, (size_t)st.st_size);
    return offset;
}

/* EIO for real: btrfs notices by its checksum that a block has rotted on the disk. */
static void test_bad_block(void **state)
{
    struct pair pair = pair_make(fixture_scratch("btrfs"), fixture_scratch("tmpfs"));
    image_make(pair.a, "memory", SIZE, data, 1, 77);
    char block[4096];
    int fd = openat(pair.a, "memory", O_RDONLY | O_CLOEXEC);
    assert_int_equal(pread(fd, block, sizeof(block), 32 * KIB), sizeof(block));
    sync();
    off_t where = find_bytes(pair.from->backing, block, sizeof(block));
    assert_true(where > 0);
    assert_int_equal(pwrite(pair.from->backing, "rotten", 6, where + 100), 6);
    assert_int_equal(posix_fadvise(fd, 0, 0, POSIX_FADV_DONTNEED), 0);
    close(fd);
    struct stack_file from = in_dir(pair.a, "memory"), to = in_dir(pair.b, "fork");
    struct stack_result result;
    struct error err = {0};
    assert_int_equal(stack_share(&from, &to, &result, &err), -EIO);
    assert_non_null(strstr(err.message, "read memory"));
    assert_non_null(strstr(err.message, "EIO"));
    assert_int_equal(entries_of(pair.b), 0);
    pair_remove(&pair);
}

static const struct extent far_apart[] = {
    {0, 1 * MIB}, {3 * GIB + 4096, 2 * MIB}, {8 * GIB - 1 * MIB - 8192, 1 * MIB}};

/* With 64 MiB of address space there is no room for more than a small buffer. ASan needs more
 * than that for itself, so there the resident size is what is limited. */
static void share_large(void *context)
{
    const struct pair *pair = context;
    struct rusage before, after;
#ifndef SANITIZED
    const struct rlimit limit = {64 * MIB, 64 * MIB};
    child_check(setrlimit(RLIMIT_AS, &limit) == 0, "setrlimit");
#endif
    getrusage(RUSAGE_SELF, &before);
    struct stack_file from = in_dir(pair->a, "memory"), to = in_dir(pair->b, "fork");
    struct stack_result result;
    child_check(stack_share(&from, &to, &result, NULL) == 0, "share");
    child_check(result.bytes_copied == 4 * MIB, "what was copied");
    getrusage(RUSAGE_SELF, &after);
    child_check(after.ru_maxrss - before.ru_maxrss < 16384, "memory use");
}

static void test_larger_than_memory(void **state)
{
    const char *other = strcmp(*state, "tmpfs") == 0 ? "ext4" : "tmpfs";
    struct pair pair = pair_make(fixture_scratch(other), fixture_scratch(*state));
    image_make(pair.a, "memory", 8 * GIB, far_apart, 3, 9);
    assert_int_equal(in_child(share_large, &pair), 0);
    image_assert(pair.b, "fork", 8 * GIB, far_apart, 3, 9);
    image_assert_sparse(pair.b, "fork", 5 * MIB);
    pair_remove(&pair);
}

static const struct fs_case cases[] = {
    {"forks at the link limit share one copy", test_concurrent_forks},
    {"a stale spread copy is not used", test_stale_spread},
    {"spread copies go before a write", test_spread_removed_before_writing},
    {"a spread copy can't be made or linked", test_spread_fails},
    {"killed while making a spread copy", test_spread_killed},
    {"8 GiB in 64 MiB of memory", test_larger_than_memory},
};

static const struct fs_case others[] = {
    {"65000 links on ext4", test_link_limit_ext4},
    {"65535 links on btrfs", test_link_limit_btrfs},
    {"a second spread copy", test_second_spread},
    {"a bad block", test_bad_block},
};

int main(void)
{
    return run_on_each("limits", cases, ARRAY_SIZE(cases), others, ARRAY_SIZE(others));
}
