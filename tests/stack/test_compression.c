/* SPDX-License-Identifier: Apache-2.0 */
/* Compressed images: what went in comes out, whatever happens in between. */
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/cleanup.h"
#include "base/file.h"
#include "fixture.h"
#include "stack/compression.h"

#define KIB  ((uint64_t)1 << 10)
#define MIB  ((uint64_t)1 << 20)
#define SIZE (3 * MIB)

static const struct extent data[] = {{32 * KIB, 16 * KIB}, {256 * KIB, 640 * KIB}};
static const struct stack_compression ways[] = {
    {STACK_ZSTD, 1}, {STACK_ZSTD, 19}, {STACK_LZ4, 0}, {STACK_LZ4, 9}};

static const char *packed_name(const struct stack_compression *how)
{
    return how->algorithm == STACK_ZSTD ? "memory.zst" : "memory.lz4";
}

static int pack(const struct pair *pair, const struct stack_compression *how, struct error *err)
{
    struct stack_file raw = in_dir(pair->a, "memory");
    struct stack_task task = {.done = 0};
    _cleanup_(stack_packing) struct stack_packing packing = {.dirfd = -1};
    int r = stack_pack(&raw, how, &task, &packing, err);
    return r < 0 ? r : stack_pack_publish(&raw, &packing, err);
}

static int expand(const struct pair *pair, uint64_t size, struct error *err)
{
    struct stack_file raw = in_dir(pair->a, "memory");
    struct stack_packed packed;
    return stack_expand(&raw, size, &packed, err);
}

static void must(int r, int expected, const struct error *err)
{
    if (r != expected)
        print_error("%d, not %d: %s\n", r, expected, err->message);
    assert_int_equal(r, expected);
}

static struct pair packed_pair(void **state, const struct stack_compression *how)
{
    struct pair pair = pair_make(fixture_scratch(*state), fixture_scratch(*state));
    struct error err = {0};
    image_make(pair.a, "memory", SIZE, data, 2, 3);
    must(pack(&pair, how, &err), 0, &err);
    assert_false(is_there(pair.a, "memory"));
    assert_true(is_there(pair.a, packed_name(how)));
    assert_int_equal(entries_of(pair.a), 1);
    return pair;
}

static void assert_raw(const struct pair *pair)
{
    image_assert(pair->a, "memory", SIZE, data, 2, 3);
    image_assert_sparse(pair->a, "memory", 700 * KIB);
    assert_int_equal(entries_of(pair->a), 1);
}

static void test_round_trip(void **state)
{
    for (size_t i = 0; i < ARRAY_SIZE(ways); i++) {
        struct pair pair = packed_pair(state, &ways[i]);
        struct stack_file raw = in_dir(pair.a, "memory");
        struct stack_packed packed;
        struct error err = {0};
        must(stack_find_packed(&raw, &packed, &err), 1, &err);
        assert_int_equal(packed.algorithm, ways[i].algorithm);
        assert_true(packed.bytes > 0 && packed.bytes < SIZE);
        must(expand(&pair, SIZE, &err), 1, &err);
        assert_raw(&pair);
        must(stack_find_packed(&raw, &packed, &err), 0, &err);
        must(expand(&pair, SIZE, &err), 0, &err);
        assert_raw(&pair);
        pair_remove(&pair);
    }
}

/* Nothing but a hole, nothing at all, and a size that is no multiple of anything. */
static void test_odd_sizes(void **state)
{
    static const uint64_t sizes[] = {0, 1, 4095, 64 * MIB, 256 * KIB, 300 * KIB + 77};
    for (size_t i = 0; i < ARRAY_SIZE(sizes) * ARRAY_SIZE(ways); i++) {
        uint64_t size = sizes[i % ARRAY_SIZE(sizes)];
        struct pair pair = pair_make(fixture_scratch(*state), fixture_scratch(*state));
        struct error err = {0};
        image_make(pair.a, "memory", size, NULL, 0, 0);
        must(pack(&pair, &ways[i / ARRAY_SIZE(sizes)], &err), 0, &err);
        must(expand(&pair, size, &err), 1, &err);
        image_assert(pair.a, "memory", size, NULL, 0, 0);
        image_assert_sparse(pair.a, "memory", 0);
        pair_remove(&pair);
    }
}

static uint8_t *random_bytes(size_t size)
{
    uint8_t *bytes = malloc(size);
    assert_non_null(bytes);
    for (size_t at = 0; at < size; at += 256)
        assert_int_equal(getrandom(bytes + at, 256, 0), 256);
    return bytes;
}

static void test_incompressible(void **state)
{
    _cleanup_(free) uint8_t *bytes = random_bytes(SIZE);
    for (size_t i = 0; i < ARRAY_SIZE(ways); i++) {
        struct pair pair = pair_make(fixture_scratch(*state), fixture_scratch(*state));
        struct error err = {0};
        _cleanup_(free) char *back = NULL;
        size_t length = 0;
        must(file_publish(pair.a, "memory", bytes, SIZE, 0640, &err), 0, &err);
        must(pack(&pair, &ways[i], &err), 0, &err);
        must(expand(&pair, SIZE, &err), 1, &err);
        must(file_read_all(pair.a, "memory", SIZE, &back, &length, &err), 0, &err);
        assert_int_equal(length, SIZE);
        assert_memory_equal(back, bytes, SIZE);
        struct stat st;
        assert_int_equal(fstatat(pair.a, "memory", &st, 0), 0);
        assert_int_equal(st.st_mode & 0777, 0640);
        pair_remove(&pair);
    }
}

static void test_shared_is_skipped(void **state)
{
    struct pair pair = pair_make(fixture_scratch(*state), fixture_scratch(*state));
    struct error err = {0};
    image_make(pair.a, "memory", SIZE, data, 2, 3);
    assert_int_equal(linkat(pair.a, "memory", pair.b, "sibling", 0), 0);
    must(pack(&pair, &ways[0], &err), -EMLINK, &err);
    assert_int_equal(err.code, ERROR_STATE);
    assert_non_null(strstr(err.message, "memory has 2 names"));
    assert_raw(&pair);
    pair_remove(&pair);
}

/* It was linked, or replaced, while it was compressed. */
static void test_late_changes(void **state)
{
    struct pair pair = pair_make(fixture_scratch(*state), fixture_scratch(*state));
    struct stack_file raw = in_dir(pair.a, "memory");
    struct stack_packing packing = {.dirfd = -1};
    struct stack_task task = {.done = 0};
    struct error err = {0};
    image_make(pair.a, "memory", SIZE, data, 2, 3);
    must(stack_pack(&raw, &ways[0], &task, &packing, &err), 0, &err);
    assert_int_equal(task.done, SIZE);
    assert_int_equal(packing.raw_bytes, SIZE);
    assert_int_equal(linkat(pair.a, "memory", pair.b, "sibling", 0), 0);
    must(stack_pack_publish(&raw, &packing, &err), -EMLINK, &err);
    assert_int_equal(renameat(pair.b, "sibling", pair.a, "memory"), 0);
    assert_int_equal(unlinkat(pair.b, "sibling", 0), 0);
    assert_int_equal(unlinkat(pair.a, "memory", 0), 0);
    image_make(pair.a, "memory", SIZE, data, 2, 3);
    int r = stack_pack_publish(&raw, &packing, &err);
    /* The inode's number may be used again: then it is the same image for all that can be told. */
    if (r != 0) {
        must(r, -ESTALE, &err);
        cleanup_stack_packing(&packing);
        assert_raw(&pair);
    }
    pair_remove(&pair);
}

static void test_failures(void **state)
{
    static const char *const packing[] = {
        "stack-pack-data=ENOSPC", "stack-pack-sync=EIO", "stack-pack-before-rename=EIO",
        "stack-pack-after-rename=EIO", "stack-pack-before-unlink=EPERM"};
    static const char *const expanding[] = {"stack-expand-data=ENOSPC", "stack-expand-sync=EIO",
                                            "stack-expand-before-rename=EIO"};
    struct pair pair = pair_make(fixture_scratch(*state), fixture_scratch(*state));
    struct error err = {0};
    image_make(pair.a, "memory", SIZE, data, 2, 3);
    for (size_t i = 0; i < ARRAY_SIZE(packing); i++) {
        failpoints(packing[i]);
        assert_true(pack(&pair, &ways[0], &err) < 0);
        failpoints(NULL);
        struct stack_file raw = in_dir(pair.a, "memory");
        must(stack_settle_packed(&raw, &err), 0, &err);
        assert_raw(&pair);
    }
    must(pack(&pair, &ways[0], &err), 0, &err);
    for (size_t i = 0; i < ARRAY_SIZE(expanding); i++) {
        failpoints(expanding[i]);
        assert_true(expand(&pair, SIZE, &err) < 0);
        failpoints(NULL);
        assert_false(is_there(pair.a, "memory"));
        assert_int_equal(entries_of(pair.a), 1);
    }
    must(expand(&pair, SIZE, &err), 1, &err);
    assert_raw(&pair);
    pair_remove(&pair);
}

struct crash {
    struct pair *pair;
    const char *failpoint;
    bool expands;
};

static void crash_body(void *context)
{
    struct crash *crash = context;
    struct error err = {0};
    failpoints(crash->failpoint);
    int r = crash->expands ? expand(crash->pair, SIZE, &err) : pack(crash->pair, &ways[2], &err);
    child_check(r >= 0, err.message);
}

/* Killed at every step: one of the two is there, whole, and after a settle only that. */
static void test_crashes(void **state)
{
    static const struct {
        const char *name;
        bool expands;
    } steps[] = {
        {"stack-pack-data", false},           {"stack-pack-sync", false},
        {"stack-pack-before-rename", false},  {"stack-pack-after-rename", false},
        {"stack-pack-before-unlink", false},  {"stack-pack-after-unlink", false},
        {"stack-expand-data", true},          {"stack-expand-sync", true},
        {"stack-expand-before-rename", true}, {"stack-expand-after-rename", true},
        {"stack-expand-before-unlink", true},
    };
    for (size_t i = 0; i < ARRAY_SIZE(steps); i++) {
        struct pair pair = pair_make(fixture_scratch(*state), fixture_scratch(*state));
        struct crash crash = {&pair, steps[i].name, steps[i].expands};
        struct stack_file raw = in_dir(pair.a, "memory");
        struct error err = {0};
        image_make(pair.a, "memory", SIZE, data, 2, 3);
        if (steps[i].expands)
            must(pack(&pair, &ways[2], &err), 0, &err);
        if (!was_killed(in_child(crash_body, &crash)))
            fail_msg("not killed at %s", steps[i].name);
        must(stack_settle_packed(&raw, &err), 0, &err);
        assert_int_equal(entries_of(pair.a), 1);
        assert_true(expand(&pair, SIZE, &err) >= 0);
        assert_raw(&pair);
        pair_remove(&pair);
    }
}

static void test_both_are_there(void **state)
{
    struct pair pair = packed_pair(state, &ways[0]);
    struct stack_file raw = in_dir(pair.a, "memory");
    struct stack_packed packed;
    struct error err = {0};
    image_make(pair.a, "memory", SIZE, data, 2, 3);
    image_make(pair.a, "memory.lz4", KIB, NULL, 0, 0);
    must(stack_find_packed(&raw, &packed, &err), 0, &err);
    must(stack_settle_packed(&raw, &err), 0, &err);
    assert_raw(&pair);
    pair_remove(&pair);
}

static void write_at(const struct pair *pair, const char *name, uint64_t offset, uint8_t flip)
{
    _cleanup_(close) int fd = openat(pair->a, name, O_RDWR | O_CLOEXEC);
    uint8_t byte;
    assert_int_equal(pread(fd, &byte, 1, (off_t)offset), 1);
    byte ^= flip;
    assert_int_equal(pwrite(fd, &byte, 1, (off_t)offset), 1);
}

static void assert_damaged(const struct pair *pair, const char *name, uint64_t size,
                           const char *words)
{
    struct error err = {0};
    must(expand(pair, size, &err), -EUCLEAN, &err);
    assert_int_equal(err.code, ERROR_CORRUPT);
    if (!strstr(err.message, words) || !strstr(err.message, name))
        fail_msg("no '%s' in: %s", words, err.message);
    assert_false(is_there(pair->a, "memory"));
    assert_int_equal(entries_of(pair->a), 1);
}

static void test_damage(void **state)
{
    for (size_t i = 0; i < ARRAY_SIZE(ways); i += 2) {
        struct pair pair = packed_pair(state, &ways[i]);
        const char *name = packed_name(&ways[i]);
        _cleanup_(close) int fd = openat(pair.a, name, O_RDWR | O_CLOEXEC);
        struct stat st;
        struct error err = {0};
        assert_int_equal(fstat(fd, &st), 0);
        assert_damaged(&pair, name, SIZE - 1, "more than");
        assert_damaged(&pair, name, MIB, "more than");
        assert_damaged(&pair, name, SIZE + 1, "less than");
        assert_int_equal(pwrite(fd, "x", 1, st.st_size), 1);
        assert_damaged(&pair, name, SIZE, "something follows its end");
        assert_int_equal(ftruncate(fd, st.st_size), 0);
        must(expand(&pair, SIZE, &err), 1, &err);
        assert_raw(&pair);
        pair_remove(&pair);
    }
}

/* One flipped bit anywhere: either it is noticed, or it meant nothing (the formats have bits that
 * decoders ignore, and chunks of zeros are not decoded) and the content is the same. Never is there
 * other content. */
static void test_flipped(void **state)
{
    for (size_t i = 0; i < ARRAY_SIZE(ways); i += 2) {
        struct pair pair = packed_pair(state, &ways[i]);
        const char *name = packed_name(&ways[i]);
        unsigned noticed = 0, flips = 0;
        struct stat st;
        assert_int_equal(fstatat(pair.a, name, &st, 0), 0);
        for (uint64_t at = 0; at < (uint64_t)st.st_size; at += 1 + (uint64_t)st.st_size / 40) {
            struct error err = {0};
            write_at(&pair, name, at, 0x10);
            int r = expand(&pair, SIZE, &err);
            flips++;
            noticed += r < 0;
            if (r > 0) {
                assert_raw(&pair);
                must(pack(&pair, &ways[i], &err), 0, &err);
                continue;
            }
            must(r, -EUCLEAN, &err);
            assert_non_null(strstr(err.message, "is damaged"));
            assert_int_equal(entries_of(pair.a), 1);
            write_at(&pair, name, at, 0x10);
        }
        assert_true(noticed * 3 > flips);
        pair_remove(&pair);
    }
}

static void test_truncated(void **state)
{
    for (size_t i = 0; i < ARRAY_SIZE(ways); i += 2) {
        struct pair pair = packed_pair(state, &ways[i]);
        const char *name = packed_name(&ways[i]);
        _cleanup_(close) int fd = openat(pair.a, name, O_RDWR | O_CLOEXEC);
        struct stat st;
        assert_int_equal(fstat(fd, &st), 0);
        for (off_t length = st.st_size - 1; length > 0; length = length * 3 / 4) {
            assert_int_equal(ftruncate(fd, length), 0);
            assert_damaged(&pair, name, SIZE, " is damaged: ");
        }
        assert_int_equal(ftruncate(fd, 0), 0);
        assert_damaged(&pair, name, SIZE, "it ends too early");
        pair_remove(&pair);
    }
}

static void test_missing(void **state)
{
    struct pair pair = pair_make(fixture_scratch(*state), fixture_scratch(*state));
    struct error err = {0};
    must(expand(&pair, SIZE, &err), -ENOENT, &err);
    must(pack(&pair, &ways[0], &err), -ENOENT, &err);
    assert_int_equal(symlinkat("elsewhere", pair.a, "memory.zst"), 0);
    must(expand(&pair, SIZE, &err), -ELOOP, &err);
    pair_remove(&pair);
}

static void test_cancelled_before(void **state)
{
    struct pair pair = pair_make(fixture_scratch(*state), fixture_scratch(*state));
    struct stack_file raw = in_dir(pair.a, "memory");
    struct stack_packing packing = {.dirfd = -1};
    struct stack_task task = {.cancelled = true};
    struct error err = {0};
    image_make(pair.a, "memory", SIZE, data, 2, 3);
    must(stack_pack(&raw, &ways[0], &task, &packing, &err), -ECANCELED, &err);
    assert_int_equal(err.code, ERROR_STATE);
    assert_raw(&pair);
    pair_remove(&pair);
}

/* Cancels once something was done. */
static void *canceller(void *context)
{
    struct stack_task *task = context;
    while (atomic_load(&task->done) == 0)
        sched_yield();
    atomic_store(&task->cancelled, true);
    return NULL;
}

static void test_cancelled_half_way(void **state)
{
    struct pair pair = pair_make(fixture_scratch(*state), fixture_scratch(*state));
    struct stack_file raw = in_dir(pair.a, "memory");
    struct stack_packing packing = {.dirfd = -1};
    struct stack_task task = {.done = 0};
    struct error err = {0};
    const uint64_t endless = (uint64_t)64 << 30; /* of holes */
    pthread_t thread;
    image_make(pair.a, "memory", endless, NULL, 0, 0);
    assert_int_equal(pthread_create(&thread, NULL, canceller, &task), 0);
    must(stack_pack(&raw, &ways[1], &task, &packing, &err), -ECANCELED, &err);
    pthread_join(thread, NULL);
    assert_true(task.done > 0 && task.done < endless);
    assert_int_equal(entries_of(pair.a), 1);
    pair_remove(&pair);
}

/* A file system that is full half way, both ways. */
static void test_full(void **state)
{
    _cleanup_(free) uint8_t *bytes = random_bytes(SIZE);
    struct error err = {0};
    const char *path = fixture_scratch("tmpfs")->path;
    char small[128];
    snprintf(small, sizeof(small), "%s/small", path);
    assert_int_equal(mkdir(small, 0700), 0);
    assert_int_equal(mount("none", small, "tmpfs", 0, "size=5m"), 0);
    struct pair pair = {.a = dir_open(AT_FDCWD, small, &err)};
    assert_true(pair.a >= 0);
    must(file_publish(pair.a, "memory", bytes, SIZE, 0600, &err), 0, &err);
    must(pack(&pair, &ways[0], &err), -ENOSPC, &err);
    assert_int_equal(err.code, ERROR_RESOURCES);
    assert_int_equal(entries_of(pair.a), 1);
    assert_int_equal(mount("none", small, "tmpfs", MS_REMOUNT, "size=20m"), 0);
    must(pack(&pair, &ways[0], &err), 0, &err);
    assert_int_equal(mount("none", small, "tmpfs", MS_REMOUNT, "size=5m"), 0);
    must(expand(&pair, SIZE, &err), -ENOSPC, &err);
    assert_true(is_there(pair.a, "memory.zst"));
    assert_int_equal(entries_of(pair.a), 1);
    close(pair.a);
    assert_int_equal(umount(small), 0);
    assert_int_equal(rmdir(small), 0);
}

static void test_words(void **state)
{
    static const struct {
        const char *text, *normal, *words;
    } cases[] = {
        {"zstd", "zstd:1", NULL},
        {"zstd:19", "zstd:19", NULL},
        {"lz4", "lz4:0", NULL},
        {"lz4:9", "lz4:9", NULL},
        {"zstd:0", NULL, "zstd has levels 1 to 19, not 0"},
        {"zstd:20", NULL, "not 20"},
        {"lz4:10", NULL, "lz4 has levels 0 to 9, not 10"},
        {"lz4:-1", NULL, "is no level"},
        {"zstd:", NULL, "is no level"},
        {"zstd:1x", NULL, "is no level"},
        {"zstd: 1", NULL, "is no level"},
        {"gzip", NULL, "'gzip' is no algorithm: zstd or lz4"},
        {"", NULL, "is no algorithm"},
        {"zst", NULL, "is no algorithm"},
    };
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        struct stack_compression how;
        char text[STACK_COMPRESSION_TEXT];
        struct error err = {0};
        int r = stack_compression_parse(cases[i].text, &how, &err);
        if (cases[i].normal) {
            must(r, 0, &err);
            stack_compression_format(&how, text);
            assert_string_equal(text, cases[i].normal);
        } else {
            must(r, -EINVAL, &err);
            assert_int_equal(err.code, ERROR_INVALID);
            if (!strstr(err.message, cases[i].words))
                fail_msg("no '%s' in: %s", cases[i].words, err.message);
        }
    }
}

int main(void)
{
    static const struct fs_case cases[] = {
        {"round trip", test_round_trip},
        {"odd sizes", test_odd_sizes},
        {"incompressible", test_incompressible},
        {"a shared image is skipped", test_shared_is_skipped},
        {"late changes", test_late_changes},
        {"failures", test_failures},
        {"crashes", test_crashes},
        {"both are there", test_both_are_there},
        {"damage", test_damage},
        {"flipped", test_flipped},
        {"truncated", test_truncated},
        {"missing", test_missing},
        {"cancelled before", test_cancelled_before},
        {"cancelled half way", test_cancelled_half_way},
    };
    static const struct fs_case others[] = {
        {"full", test_full},
        {"words", test_words},
    };
    return run_on_each("compression", cases, ARRAY_SIZE(cases), others, ARRAY_SIZE(others));
}
