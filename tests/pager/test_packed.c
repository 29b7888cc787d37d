/* SPDX-License-Identifier: Apache-2.0 */
/* Compressed images: every page as it was, each chunk decoded once for all siblings, and whatever
 * is wrong with a chunk stops its session before it can be a wrong byte. */
#include <errno.h>
#include <fcntl.h>
#include <linux/userfaultfd.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/cleanup.h"
#include "base/file.h"
#include "fixture.h"
#include "stack/layer.h"
#include "stack/packed_image.h"

#define PAGES    6144u
#define CHUNKS   (PAGES / PACKED_CHUNK_PAGES)
#define SIBLINGS 4u

static int setup_of(void **state, const char *decoded_cache)
{
    struct place *place = calloc(1, sizeof(*place));
    assert_non_null(place);
    place_open(place);
    place->decoded_cache = decoded_cache;
    for (unsigned i = 0; i < 2; i++) {
        image_make(place, "memory", PAGES);
        image_pack(place, i == 0 ? "zstd" : "lz4");
    }
    pager_begin(place, "TINE_PAGER", "0.1.0");
    *state = place;
    return 0;
}

static int setup(void **state)
{
    return setup_of(state, NULL);
}

/* Two thirds of the image. */
static int setup_small(void **state)
{
    return setup_of(state, "16");
}

static int teardown(void **state)
{
    place_free(*state);
    return 0;
}

static void begin(struct vm *vm, const struct place *place, const char *id, json_t *body)
{
    pager_expect(place, "POST", "/sessions", body, 200);
    vm_open(vm, PAGES, 2, UFFD_FEATURE_EVENT_REMOVE);
    vm_introduce(vm, place, id);
}

static void begin_zstd(struct vm *vm, const struct place *place, const char *id)
{
    begin(vm, place, id, packed_body(place, id, "memory.zst", "zstd"));
}

static void end(struct vm *vm, const struct place *place, const char *id)
{
    char path[64];
    snprintf(path, sizeof(path), "/sessions/%s", id);
    vm_close(vm);
    pager_expect(place, "DELETE", path, json_pack("{s:b}", "detach", 1), 204);
}

/* ---- what is served ---- */

static void test_every_page(void **state)
{
    struct place *place = *state;
    struct vm vm, other;
    begin_zstd(&vm, place, "a");
    begin(&other, place, "b", packed_body(place, "b", "memory.lz4", "lz4"));
    assert_int_equal(vm_wrong_pages(&vm), 0);
    assert_int_equal(vm_wrong_pages(&other), 0);
    assert_true(session_counter(place, "a", "zero_pages") > 0);
    vm_close(&vm);
    vm_close(&other);
}

struct sibling {
    struct vm vm;
    unsigned number;
    uint64_t wrong;
    pthread_t thread;
};

/* Every page, in an order of its own: an odd step meets them all. */
static void *read_all(void *argument)
{
    struct sibling *sibling = argument;
    for (uint64_t i = 0; i < PAGES; i++) {
        uint64_t page = (i * (2u * sibling->number * 1013 + 1) + sibling->number * 777) % PAGES;
        sibling->wrong += !page_is_image(vm_page(&sibling->vm, page), page);
    }
    return NULL;
}

static void read_together(const struct place *place, struct sibling siblings[SIBLINGS])
{
    for (unsigned i = 0; i < SIBLINGS; i++) {
        char id[8];
        snprintf(id, sizeof(id), "%u", i);
        siblings[i] = (struct sibling){.number = i};
        begin_zstd(&siblings[i].vm, place, id);
    }
    for (unsigned i = 0; i < SIBLINGS; i++)
        assert_int_equal(pthread_create(&siblings[i].thread, NULL, read_all, &siblings[i]), 0);
    for (unsigned i = 0; i < SIBLINGS; i++) {
        pthread_join(siblings[i].thread, NULL);
        assert_int_equal(siblings[i].wrong, 0);
        vm_close(&siblings[i].vm);
    }
}

static void test_siblings_share(void **state)
{
    struct place *place = *state;
    struct sibling siblings[SIBLINGS];
    struct vm later;
    read_together(place, siblings);
    int64_t decoded = cache_counter(place, "misses") + cache_counter(place, "ahead");
    assert_int_equal(cache_counter(place, "bytes"), (int64_t)CHUNKS * PACKED_CHUNK_SIZE);
    assert_true(cache_counter(place, "misses") <= CHUNKS && decoded >= CHUNKS);
    assert_true(cache_counter(place, "hits") > CHUNKS);
    assert_int_equal(cache_counter(place, "evictions"), 0);
    /* One that comes when they are gone finds all of it decoded. */
    int64_t misses = cache_counter(place, "misses");
    begin_zstd(&later, place, "later");
    assert_int_equal(vm_wrong_pages(&later), 0);
    assert_int_equal(cache_counter(place, "misses"), misses);
    vm_close(&later);
}

static void test_more_than_the_cache_has_room_for(void **state)
{
    struct place *place = *state;
    struct sibling siblings[SIBLINGS];
    read_together(place, siblings);
    assert_true(cache_counter(place, "evictions") > 0);
    assert_int_equal(cache_counter(place, "limit_bytes"), 16 << 20);
    assert_true(cache_counter(place, "bytes") <= 16 << 20);
}

static void test_raw_images_have_no_part_in_it(void **state)
{
    struct place *place = *state;
    struct vm vm;
    image_make(place, "memory", PAGES);
    vm_begin(&vm, place, "raw", PAGES, 2);
    assert_int_equal(vm_wrong_pages(&vm), 0);
    assert_int_equal(cache_counter(place, "bytes"), 0);
    assert_int_equal(cache_counter(place, "misses"), 0);
    vm_close(&vm);
}

/* Nothing is decoded for what the index knows to be zero. */
static void test_zeros(void **state)
{
    struct place *place = *state;
    struct vm vm;
    char path[128];
    snprintf(path, sizeof(path), "%s/memory", place->directory);
    _cleanup_(close) int fd = open(path, O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    assert_int_equal(ftruncate(fd, (off_t)PAGES * PAGE), 0);
    image_pack(place, "zstd");
    begin_zstd(&vm, place, "a");
    for (uint64_t page = 0; page < PAGES; page++)
        assert_true(page_is_zeros(vm_page(&vm, page)));
    assert_int_equal(cache_counter(place, "misses") + cache_counter(place, "ahead"), 0);
    assert_int_equal(session_counter(place, "a", "copied_pages"), 0);
    vm_close(&vm);
}

static void test_complete(void **state)
{
    struct place *place = *state;
    struct vm vm;
    begin_zstd(&vm, place, "a");
    assert_true(page_is_image(vm_page(&vm, 4000), 4000));
    assert_int_equal(madvise(vm_page(&vm, 100), 200ull * PAGE, MADV_DONTNEED), 0);
    pager_expect(place, "POST", "/sessions/a/complete", NULL, 204);
    assert_true(session_reaches(place, "a", "completed"));
    pager_kill(place);
    for (uint64_t page = 0; page < PAGES; page++) {
        if (page >= 100 && page < 300)
            assert_true(page_is_zeros(vm_page(&vm, page)));
        else
            assert_true(page_is_image(vm_page(&vm, page), page));
    }
    vm_close(&vm);
}

static void test_a_record_is_filled_by(void **state)
{
    struct place *place = *state;
    struct vm vm;
    begin_zstd(&vm, place, "a");
    assert_int_equal(vm_wrong_pages(&vm), 0);
    end(&vm, place, "a");
    begin_zstd(&vm, place, "b");
    assert_int_equal(vm_wrong_pages(&vm), 0);
    while (session_counter(place, "b", "prefetched_pages") == 0)
        assert_true(session_reaches(place, "b", "serving"));
    end(&vm, place, "b");
}

/* A compressed base under a layer. */
static void test_layers_over_it(void **state)
{
    struct place *place = *state;
    struct vm vm;
    struct error err = {0};
    char path[128];
    uint64_t words[PAGE / 8];
    memset(words, 0x5a, sizeof(words));
    snprintf(path, sizeof(path), "%s/memory.1", place->directory);
    _cleanup_(close) int fd = open(path, O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    _cleanup_(layer_writer) struct layer_writer *writer =
        layer_writer_begin(fd, "memory.1", (uint64_t)PAGES * PAGE, &err);
    assert_non_null(writer);
    for (uint64_t page = 0; page < PAGES; page += 5)
        assert_int_equal(layer_writer_add(writer, page, words, 1, &err), 0);
    assert_int_equal(layer_writer_finish(writer, NULL, &err), 0);
    json_t *body = packed_body(place, "a", "memory.zst", "zstd");
    json_array_append_new(json_object_get(body, "layers"), json_string("memory.1"));
    begin(&vm, place, "a", body);
    for (uint64_t page = 0; page < PAGES; page++) {
        if (page % 5 == 0)
            assert_memory_equal(vm_page(&vm, page), words, PAGE);
        else
            assert_true(page_is_image(vm_page(&vm, page), page));
    }
    vm_close(&vm);
}

/* ---- what is not as it should be ---- */

static void *read_page(void *argument)
{
    return (void *)(uintptr_t) * (volatile uint8_t *)argument;
}

/* A thread that reads that page waits, its session fails for that reason, and it waits on. */
static void expect_stop(const struct place *place, struct vm *vm, const char *id, uint64_t page,
                        const char *words)
{
    pthread_t thread;
    char path[64];
    assert_int_equal(pthread_create(&thread, NULL, read_page, vm_page(vm, page)), 0);
    assert_true(session_reaches(place, id, "failed"));
    json_t *session = session_get(place, id);
    const char *reason = json_string_value(json_object_get(session, "reason"));
    if (!strstr(reason, words))
        fail_msg("no '%s' in: %s", words, reason);
    json_decref(session);
    assert_int_equal(pthread_tryjoin_np(thread, NULL), EBUSY);
    snprintf(path, sizeof(path), "/sessions/%s", id);
    pager_expect(place, "DELETE", path, json_pack("{s:b}", "detach", 1), 204);
    struct uffdio_range range = {.start = (uintptr_t)vm_page(vm, page), .len = PAGE};
    assert_int_equal(ioctl(vm->uffd, UFFDIO_UNREGISTER, &range), 0);
    pthread_join(thread, NULL);
}

/* Flips a bit at that offset; from the end, if it is negative. */
static void damage(const struct place *place, const char *name, off_t at)
{
    char path[128];
    struct stat st;
    uint8_t byte;
    snprintf(path, sizeof(path), "%s/%s", place->directory, name);
    _cleanup_(close) int fd = open(path, O_RDWR | O_CLOEXEC);
    assert_true(fd >= 0 && fstat(fd, &st) == 0);
    at += at < 0 ? st.st_size : 0;
    assert_int_equal(pread(fd, &byte, 1, at), 1);
    byte ^= 0x10;
    assert_int_equal(pwrite(fd, &byte, 1, at), 1);
}

static void test_a_damaged_chunk(void **state)
{
    struct place *place = *state;
    struct vm vm, other;
    damage(place, "memory.zst", -10000000);
    begin_zstd(&vm, place, "a");
    begin(&other, place, "other", packed_body(place, "other", "memory.lz4", "lz4"));
    for (uint64_t page = 0; page < PAGES / 4; page++)
        assert_true(page_is_image(vm_page(&vm, page), page));
    pthread_t thread;
    struct sibling reader = {.vm = vm, .number = 0};
    assert_int_equal(pthread_create(&thread, NULL, read_all, &reader), 0);
    assert_true(session_reaches(place, "a", "failed"));
    assert_int_equal(reader.wrong, 0);
    json_t *session = session_get(place, "a");
    const char *reason = json_string_value(json_object_get(session, "reason"));
    assert_non_null(strstr(reason, "memory.zst is damaged: chunk "));
    json_decref(session);
    assert_int_equal(vm_wrong_pages(&other), 0);
    assert_true(cache_counter(place, "failures") > 0);
    pager_expect(place, "DELETE", "/sessions/a", json_pack("{s:b}", "detach", 1), 204);
    for (unsigned i = 0; i < vm.count; i++) {
        struct uffdio_range range = {.start = (uintptr_t)vm.regions[i].memory,
                                     .len = vm.regions[i].pages * PAGE};
        assert_int_equal(ioctl(vm.uffd, UFFDIO_UNREGISTER, &range), 0);
    }
    pthread_join(thread, NULL);
    vm_close(&vm);
    vm_close(&other);
}

/* What is decoded already is served on. */
static void test_it_is_truncated(void **state)
{
    struct place *place = *state;
    struct vm vm;
    char path[128];
    begin_zstd(&vm, place, "a");
    assert_true(page_is_image(vm_page(&vm, 0), 0));
    snprintf(path, sizeof(path), "%s/memory.zst", place->directory);
    assert_int_equal(truncate(path, PAGE), 0);
    assert_true(page_is_image(vm_page(&vm, 1), 1));
    expect_stop(place, &vm, "a", PAGES - 4, "memory.zst had ");
    vm_close(&vm);
}

static void test_it_is_written(void **state)
{
    struct place *place = *state;
    struct vm vm;
    begin_zstd(&vm, place, "a");
    assert_true(page_is_image(vm_page(&vm, 0), 0));
    damage(place, "memory.zst", 1000000);
    expect_stop(place, &vm, "a", PAGES - 4, "memory.zst was written while it was in use");
    vm_close(&vm);
}

static void expect_refused(const struct place *place, json_t *body, int status, const char *reason)
{
    struct reply reply = pager_call(place, "POST", "/sessions", body, NULL, 0);
    const char *message = json_string_value(json_object_get(reply.body, "fault_message"));
    assert_non_null(message);
    if (reply.status != status || !strstr(message, reason))
        fail_msg("%d %s", reply.status, message);
    reply_free(&reply);
}

static void publish(const struct place *place, const char *name, const char *bytes, size_t length)
{
    struct error err = {0};
    _cleanup_(close) int directory = dir_open(AT_FDCWD, place->directory, &err);
    assert_int_equal(file_publish(directory, name, bytes, length, 0600, &err), 0);
}

static void test_bad_images_are_refused(void **state)
{
    struct place *place = *state;
    char path[128];
    struct stat st;
    expect_refused(place, packed_body(place, "a", "memory.zst", "gzip"), 400,
                   "'gzip' is no algorithm: zstd or lz4");
    publish(place, "noise", "no frame at all", 15);
    expect_refused(place, packed_body(place, "a", "noise", "zstd"), 501, "noise has no index");
    publish(place, "empty", "", 0);
    expect_refused(place, packed_body(place, "a", "empty", "lz4"), 501, "empty has no index");
    image_make(place, "memory", PAGES);
    expect_refused(place, packed_body(place, "a", "memory", "zstd"), 501, "memory has no index");
    publish(place, "memory", "of no size", 10);
    image_pack(place, "zstd:2");
    expect_refused(place, packed_body(place, "a", "memory.zst", "zstd"), 400,
                   "not a number of pages");
    snprintf(path, sizeof(path), "%s/memory.lz4", place->directory);
    assert_int_equal(stat(path, &st), 0);
    damage(place, "memory.lz4", -100);
    expect_refused(place, packed_body(place, "a", "memory.lz4", "lz4"), 500,
                   "the checksum of its index does not match");
    assert_int_equal(truncate(path, st.st_size - 1), 0);
    expect_refused(place, packed_body(place, "a", "memory.lz4", "lz4"), 501, "has no index");
    pager_expect(place, "GET", "/health", NULL, 200);
}

/* One name, two formats: neither gets what is the other's. */
static void test_the_format_is_the_askers(void **state)
{
    struct place *place = *state;
    struct vm vm, other;
    pthread_t thread;
    begin(&vm, place, "a", packed_body(place, "a", "memory.zst", "zstd"));
    begin(&other, place, "b", packed_body(place, "b", "memory.zst", "lz4"));
    assert_int_equal(pthread_create(&thread, NULL, read_page, vm_page(&other, 0)), 0);
    assert_true(session_reaches(place, "b", "failed"));
    pager_expect(place, "DELETE", "/sessions/b", json_pack("{s:b}", "detach", 1), 204);
    struct uffdio_range range = {.start = (uintptr_t)vm_page(&other, 0), .len = PAGE};
    assert_int_equal(ioctl(other.uffd, UFFDIO_UNREGISTER, &range), 0);
    pthread_join(thread, NULL);
    vm_close(&vm);
    vm_close(&other);
}

/* ---- take-over ---- */

struct held {
    int fds[2];
};

static struct held hold(const struct place *place, const char *id)
{
    char path[64];
    struct held held;
    snprintf(path, sizeof(path), "/sessions/%s/descriptors", id);
    struct reply reply = pager_call(place, "GET", path, NULL, NULL, 0);
    assert_int_equal(reply.fd_count, 2);
    for (unsigned i = 0; i < 2; i++)
        held.fds[i] = fcntl(reply.fds[i], F_DUPFD_CLOEXEC, 0);
    reply_free(&reply);
    return held;
}

static void take_over(const struct place *place, const char *id, const char *name,
                      const char *compression, struct held *held, int status)
{
    json_t *body = packed_body(place, id, name, compression);
    json_object_del(body, "handshake_socket");
    json_object_set_new(body, "take_over", json_true());
    struct reply reply = pager_call(place, "POST", "/sessions", body, held->fds, 2);
    assert_int_equal(reply.status, status);
    reply_free(&reply);
}

/* Siblings that read all the while, and the pager killed again and again. */
static void test_killed_under_load(void **state)
{
    struct place *place = *state;
    struct sibling siblings[SIBLINGS];
    struct held held[SIBLINGS];
    char ids[SIBLINGS][8];
    for (unsigned i = 0; i < SIBLINGS; i++) {
        snprintf(ids[i], sizeof(ids[i]), "%u", i);
        siblings[i] = (struct sibling){.number = i};
        begin_zstd(&siblings[i].vm, place, ids[i]);
        assert_true(page_is_image(vm_page(&siblings[i].vm, i), i));
        held[i] = hold(place, ids[i]);
    }
    for (unsigned i = 0; i < SIBLINGS; i++)
        assert_int_equal(pthread_create(&siblings[i].thread, NULL, read_all, &siblings[i]), 0);
    for (unsigned kills = 0; kills < 4; kills++) {
        pager_kill(place);
        pager_begin(place, "TINE_PAGER", "0.1.0");
        if (kills == 0) /* another file is another image */
            take_over(place, ids[0], "memory.lz4", "lz4", &held[0], 500);
        for (unsigned i = 0; i < SIBLINGS; i++)
            take_over(place, ids[i], "memory.zst", "zstd", &held[i], 200);
        for (unsigned i = 0; i < 200 && cache_counter(place, "misses") < 10; i++)
            sched_yield();
    }
    for (unsigned i = 0; i < SIBLINGS; i++) {
        pthread_join(siblings[i].thread, NULL);
        assert_int_equal(siblings[i].wrong, 0);
        vm_close(&siblings[i].vm);
        close(held[i].fds[0]);
        close(held[i].fds[1]);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_every_page, setup, teardown),
        cmocka_unit_test_setup_teardown(test_siblings_share, setup, teardown),
        cmocka_unit_test_setup_teardown(test_more_than_the_cache_has_room_for, setup_small,
                                        teardown),
        cmocka_unit_test_setup_teardown(test_raw_images_have_no_part_in_it, setup, teardown),
        cmocka_unit_test_setup_teardown(test_zeros, setup, teardown),
        cmocka_unit_test_setup_teardown(test_complete, setup, teardown),
        cmocka_unit_test_setup_teardown(test_a_record_is_filled_by, setup, teardown),
        cmocka_unit_test_setup_teardown(test_layers_over_it, setup, teardown),
        cmocka_unit_test_setup_teardown(test_a_damaged_chunk, setup, teardown),
        cmocka_unit_test_setup_teardown(test_it_is_truncated, setup, teardown),
        cmocka_unit_test_setup_teardown(test_it_is_written, setup, teardown),
        cmocka_unit_test_setup_teardown(test_bad_images_are_refused, setup, teardown),
        cmocka_unit_test_setup_teardown(test_the_format_is_the_askers, setup, teardown),
        cmocka_unit_test_setup_teardown(test_killed_under_load, setup_small, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
