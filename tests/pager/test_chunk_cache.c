/* SPDX-License-Identifier: Apache-2.0 */
/* The cache of decoded chunks by itself. */
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/cleanup.h"
#include "base/clock.h"
#include "base/file.h"
#include "pager/chunk_cache.h"

#define CHUNKS  100u /* of the image; the cache has room for 64 */
#define SLOTS   (CHUNK_CACHE_LEAST / PACKED_CHUNK_SIZE)
#define THREADS 4u

struct place {
    char path[64];
    struct packed_file *file;
    struct chunk_cache *cache;
    atomic_uint arrivals;
    atomic_bool stuck; /* who brings the next arrival stays in it */
    atomic_bool is_stuck;
};

static uint64_t word_of(uint64_t chunk, size_t index)
{
    return (chunk * 32768 + index / 64 + 1) * 0x9e3779b97f4a7c15ull;
}

static void arrived(void *context)
{
    struct place *place = context;
    atomic_fetch_add(&place->arrivals, 1);
    if (!atomic_exchange(&place->stuck, false))
        return;
    atomic_store(&place->is_stuck, true);
    while (atomic_load(&place->is_stuck))
        sched_yield();
}

static void image_make(const struct place *place)
{
    const struct stack_compression how = {STACK_LZ4, 0};
    struct stack_task task = {.done = 0};
    struct stack_packing packing = {.dirfd = -1};
    struct error err = {0};
    _cleanup_(close) int dir = dir_open(AT_FDCWD, place->path, &err);
    _cleanup_(free) uint64_t *words = malloc(PACKED_CHUNK_SIZE);
    int fd = openat(dir, "memory", O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    for (uint64_t chunk = 0; chunk < CHUNKS; chunk++) {
        for (size_t i = 0; i < PACKED_CHUNK_SIZE / 8; i++)
            words[i] = word_of(chunk, i);
        assert_int_equal(file_write_exact(fd, words, PACKED_CHUNK_SIZE, "memory", &err), 0);
    }
    close(fd);
    const struct stack_file raw = {dir, "memory", "memory"};
    assert_int_equal(stack_pack(&raw, &how, &task, &packing, &err), 0);
    assert_int_equal(stack_pack_publish(&raw, &packing, &err), 0);
    cleanup_stack_packing(&packing);
}

static int file_fd(const struct place *place)
{
    char path[128];
    snprintf(path, sizeof(path), "%s/memory.lz4", place->path);
    int fd = open(path, O_RDWR | O_CLOEXEC);
    assert_true(fd >= 0);
    return fd;
}

static struct packed_file *file_open(const struct place *place)
{
    struct stat st;
    struct error err = {0};
    _cleanup_(close) int fd = file_fd(place);
    assert_int_equal(fstat(fd, &st), 0);
    struct packed_file *file = packed_file_open(fd, &st, "memory.lz4", STACK_LZ4, &err);
    assert_non_null(file);
    return file;
}

static int setup(void **state)
{
    struct place *place = calloc(1, sizeof(*place));
    struct error err = {0};
    assert_non_null(place);
    snprintf(place->path, sizeof(place->path), "/tmp/tine-chunks-XXXXXX");
    assert_non_null(mkdtemp(place->path));
    image_make(place);
    place->file = file_open(place);
    const struct chunk_cache_config config = {
        .bytes = CHUNK_CACHE_LEAST, .threads = 2, .arrived = arrived, .context = place};
    place->cache = chunk_cache_create(&config, &err);
    assert_non_null(place->cache);
    *state = place;
    return 0;
}

static int teardown(void **state)
{
    struct place *place = *state;
    struct error err = {0};
    packed_file_release(place->file);
    chunk_cache_destroy(place->cache);
    assert_int_equal(tree_remove(AT_FDCWD, place->path, &err), 0);
    free(place);
    return 0;
}

static enum chunk_outcome take(struct place *place, uint64_t chunk, const uint8_t **bytes,
                               struct error *err)
{
    enum chunk_outcome outcome;
    while ((outcome = chunk_cache_take(place->cache, place->file, chunk, bytes, err)) ==
           CHUNK_LATER)
        sched_yield();
    return outcome;
}

static bool is_right(const uint8_t *bytes, uint64_t chunk)
{
    for (size_t i = 0; i < PACKED_CHUNK_SIZE / 8; i++) {
        uint64_t word;
        memcpy(&word, bytes + i * 8, sizeof(word));
        if (word != word_of(chunk, i))
            return false;
    }
    return true;
}

static void use(struct place *place, uint64_t chunk)
{
    const uint8_t *bytes = NULL;
    struct error err = {0};
    assert_int_equal(take(place, chunk, &bytes, &err), CHUNK_HERE);
    assert_true(is_right(bytes, chunk));
    chunk_cache_give_back(place->cache, bytes + 77);
}

static struct chunk_counts counts_of(const struct place *place)
{
    struct chunk_counts counts;
    chunk_cache_count(place->cache, &counts);
    assert_true(counts.bytes <= counts.limit_bytes);
    assert_int_equal(counts.limit_bytes, CHUNK_CACHE_LEAST);
    return counts;
}

static void test_each_is_decoded_once(void **state)
{
    struct place *place = *state;
    for (unsigned round = 0; round < 3; round++) {
        for (uint64_t chunk = 0; chunk < SLOTS; chunk++)
            use(place, chunk);
    }
    struct chunk_counts counts = counts_of(place);
    assert_int_equal(counts.misses, SLOTS);
    assert_int_equal(counts.hits, 2 * SLOTS);
    assert_int_equal(counts.bytes, CHUNK_CACHE_LEAST);
    assert_int_equal(counts.evictions, 0);
    assert_true(atomic_load(&place->arrivals) <= SLOTS);
}

static void *use_all(void *argument)
{
    struct place *place = argument;
    for (uint64_t i = 0; i < 4 * CHUNKS; i++)
        use(place, i * 37 % CHUNKS);
    return NULL;
}

static void test_threads_in_too_small_a_cache(void **state)
{
    struct place *place = *state;
    pthread_t threads[THREADS];
    for (unsigned i = 0; i < THREADS; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, use_all, place), 0);
    for (unsigned i = 0; i < THREADS; i++)
        pthread_join(threads[i], NULL);
    struct chunk_counts counts = counts_of(place);
    assert_true(counts.evictions > 0 && counts.misses >= CHUNKS);
    assert_int_equal(counts.failures, 0);
}

static void test_what_is_taken_stays(void **state)
{
    struct place *place = *state;
    const uint8_t *bytes[2] = {NULL};
    struct error err = {0};
    for (unsigned i = 0; i < 2; i++)
        assert_int_equal(take(place, i, &bytes[i], &err), CHUNK_HERE);
    for (unsigned round = 0; round < 3; round++) {
        for (uint64_t chunk = 2; chunk < CHUNKS; chunk++)
            use(place, chunk);
    }
    for (unsigned i = 0; i < 2; i++) {
        assert_true(is_right(bytes[i], i));
        chunk_cache_give_back(place->cache, bytes[i]);
    }
    assert_true(counts_of(place).evictions > 0);
}

/* With every slot taken the next one has to wait until one is given back. */
static void test_all_are_taken(void **state)
{
    struct place *place = *state;
    const uint8_t *bytes[SLOTS];
    const uint8_t *more = NULL;
    struct error err = {0};
    for (unsigned i = 0; i < SLOTS; i++)
        assert_int_equal(take(place, i, &bytes[i], &err), CHUNK_HERE);
    for (unsigned i = 0; i < 1000; i++)
        assert_int_equal(chunk_cache_take(place->cache, place->file, SLOTS, &more, &err),
                         CHUNK_LATER);
    chunk_cache_give_back(place->cache, bytes[5]);
    assert_int_equal(take(place, SLOTS, &more, &err), CHUNK_HERE);
    assert_true(is_right(more, SLOTS));
    assert_false(chunk_cache_has(place->cache, place->file, 5));
    chunk_cache_give_back(place->cache, more);
    for (unsigned i = 0; i < SLOTS; i++) {
        if (i != 5)
            chunk_cache_give_back(place->cache, bytes[i]);
    }
    chunk_cache_give_back(place->cache, &err); /* nobody's */
}

static void test_wanted(void **state)
{
    struct place *place = *state;
    for (uint64_t chunk = 0; chunk < 10; chunk++)
        chunk_cache_want(place->cache, place->file, chunk);
    for (uint64_t chunk = 0; chunk < 10; chunk++) {
        while (!chunk_cache_has(place->cache, place->file, chunk))
            sched_yield();
        use(place, chunk);
    }
    struct chunk_counts counts = counts_of(place);
    assert_int_equal(counts.ahead, 10);
    assert_int_equal(counts.hits, 10);
    assert_int_equal(counts.misses, 0);
}

/* A thread that gets no further keeps nobody from anything else. */
static void test_one_that_is_slow(void **state)
{
    struct place *place = *state;
    atomic_store(&place->stuck, true);
    use(place, 0);
    while (!atomic_load(&place->is_stuck))
        sched_yield();
    for (uint64_t chunk = 0; chunk < CHUNKS; chunk++)
        use(place, chunk);
    atomic_store(&place->is_stuck, false);
}

/* Another opening of the file finds what is there; the same name with other content does not. */
static void test_names(void **state)
{
    struct place *place = *state;
    use(place, 3);
    struct packed_file *again = file_open(place);
    assert_true(chunk_cache_has(place->cache, again, 3));
    packed_file_release(again);
    _cleanup_(close) int fd = file_fd(place);
    const struct timespec times[2] = {{.tv_sec = 1}, {.tv_sec = 1}};
    assert_int_equal(futimens(fd, times), 0);
    again = file_open(place);
    assert_false(chunk_cache_has(place->cache, again, 3));
    packed_file_release(again);
}

static void flip(const struct place *place, off_t at)
{
    uint8_t byte;
    _cleanup_(close) int fd = file_fd(place);
    const struct stat *st = &place->file->file.st;
    const struct timespec times[2] = {st->st_atim, st->st_mtim};
    assert_int_equal(pread(fd, &byte, 1, at), 1);
    byte ^= 0x40;
    assert_int_equal(pwrite(fd, &byte, 1, at), 1);
    assert_int_equal(futimens(fd, times), 0);
}

/* Damage that no time of modification tells of. What failed is tried again in a while. */
static void test_damage_and_repair(void **state)
{
    struct place *place = *state;
    const uint8_t *bytes = NULL;
    struct error err = {0};
    flip(place, 2000);
    assert_int_equal(take(place, 0, &bytes, &err), CHUNK_FAILED);
    assert_int_equal(err.code, ERROR_CORRUPT);
    assert_non_null(strstr(err.message, "memory.lz4 is damaged: chunk 0 at 0: "));
    assert_int_equal(take(place, 0, &bytes, &err), CHUNK_FAILED);
    use(place, 1);
    assert_int_equal(counts_of(place).failures, 1);
    flip(place, 2000);
    while (take(place, 0, &bytes, &err) == CHUNK_FAILED)
        time_sleep_ms(1);
    assert_true(is_right(bytes, 0));
    chunk_cache_give_back(place->cache, bytes);
}

static void test_idle(void **state)
{
    struct place *place = *state;
    const uint8_t *bytes = NULL;
    struct error err = {0};
    for (uint64_t chunk = 0; chunk < 10; chunk++)
        use(place, chunk);
    assert_int_equal(take(place, 4, &bytes, &err), CHUNK_HERE);
    chunk_cache_tick(place->cache, time_monotonic_ns());
    assert_int_equal(counts_of(place).bytes, 10 * PACKED_CHUNK_SIZE);
    chunk_cache_tick(place->cache, time_monotonic_ns() + 60000000000u);
    assert_int_equal(counts_of(place).bytes, PACKED_CHUNK_SIZE);
    assert_true(is_right(bytes, 4));
    chunk_cache_give_back(place->cache, bytes);
    use(place, 5);
}

/* It is given up with work left. */
static void test_the_end_comes_early(void **state)
{
    struct place *place = *state;
    for (uint64_t chunk = 0; chunk < CHUNKS; chunk++)
        chunk_cache_want(place->cache, place->file, chunk);
}

/* More than there are addresses: what there was of it is given up. */
static void test_no_memory_for_it(void **state)
{
    const struct place *place = *state;
    const struct chunk_cache_config config = {
        .bytes = 1ull << 48, .threads = 2, .arrived = arrived, .context = (void *)place};
    struct error err = {0};
    assert_null(chunk_cache_create(&config, &err));
    assert_int_equal(err.errnum, ENOMEM);
    assert_non_null(strstr(err.message, "the cache of decoded pages"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_each_is_decoded_once, setup, teardown),
        cmocka_unit_test_setup_teardown(test_threads_in_too_small_a_cache, setup, teardown),
        cmocka_unit_test_setup_teardown(test_what_is_taken_stays, setup, teardown),
        cmocka_unit_test_setup_teardown(test_all_are_taken, setup, teardown),
        cmocka_unit_test_setup_teardown(test_wanted, setup, teardown),
        cmocka_unit_test_setup_teardown(test_one_that_is_slow, setup, teardown),
        cmocka_unit_test_setup_teardown(test_names, setup, teardown),
        cmocka_unit_test_setup_teardown(test_damage_and_repair, setup, teardown),
        cmocka_unit_test_setup_teardown(test_idle, setup, teardown),
        cmocka_unit_test_setup_teardown(test_the_end_comes_early, setup, teardown),
        cmocka_unit_test_setup_teardown(test_no_memory_for_it, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
