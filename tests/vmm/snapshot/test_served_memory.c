/* SPDX-License-Identifier: Apache-2.0 */
/* Memory that a real tine-pager serves: what is read is the image, what is saved is what memory
 * holds, a diff has the pages that it must have and no other, and what was never touched stays so.
 * All of it without a VM, against a model of every page. */
#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "../../pager/fixture.h"
#include "base/cleanup.h"
#include "vmm/memory.h"
#include "vmm/page_map.h"

#define GIB   (1ull << 30)
#define PAGES 4096u

/* A page as it should be. */
struct model {
    uint8_t *bytes;
    bool touched[PAGES]; /* read, written or given back */
    bool written[PAGES]; /* since the last diff; given back counts */
};

struct fixture {
    struct place *place;
    struct guest_memory memory;
    struct model model;
    unsigned sessions;
    char path[128];
};

static void ok(int r, const struct error *err)
{
    if (r < 0)
        fail_msg("%s", err->message);
}

static int setup(void **state)
{
    struct fixture *f = calloc(1, sizeof(*f));
    assert_non_null(f);
    f->place = place_new(PAGES);
    f->model.bytes = malloc((size_t)PAGES * PAGE);
    assert_non_null(f->model.bytes);
    *state = f;
    return 0;
}

static int teardown(void **state)
{
    struct fixture *f = *state;
    guest_memory_release(&f->memory);
    place_free(f->place);
    free(f->model.bytes);
    free(f);
    return 0;
}

/* Memory of `size` bytes through a new session; the model is the image's. */
static void serve(struct fixture *f, uint64_t size, bool track)
{
    struct error err = {0};
    char id[16], socket[128];
    snprintf(id, sizeof(id), "vm%u", f->sessions++);
    json_t *body = session_body(f->place, id);
    json_object_set_new(body, "cache_key", json_string(id));
    pager_expect(f->place, "POST", "/sessions", body, 200);
    snprintf(socket, sizeof(socket), "%s/%s.sock", f->place->directory, id);
    guest_memory_release(&f->memory);
    ok(guest_memory_serve(&f->memory, size, socket, &err), &err);
    if (track)
        ok(guest_memory_track(&f->memory, &err), &err);
    if (size > (uint64_t)PAGES * PAGE)
        return;
    for (uint64_t n = 0; n < PAGES; n++)
        page_fill(n, (uint64_t *)(void *)(f->model.bytes + n * PAGE));
    memset(f->model.touched, 0, sizeof(f->model.touched));
    memset(f->model.written, 0, sizeof(f->model.written));
}

/* ---- what a guest does, in memory and in the model ---- */

static void touch(struct fixture *f, uint64_t first, uint64_t count)
{
    uint8_t page[PAGE];
    for (uint64_t n = first; n < first + count; n++) {
        assert_int_equal(guest_read(&f->memory, n * PAGE, page, PAGE), 0);
        if (memcmp(page, f->model.bytes + n * PAGE, PAGE) != 0)
            fail_msg("page %llu is not what it was", (unsigned long long)n);
        f->model.touched[n] = true;
    }
}

static void fill(struct fixture *f, uint64_t first, uint64_t count, int byte)
{
    void *bytes = guest_pointer(&f->memory, first * PAGE, count * PAGE);
    assert_non_null(bytes);
    memset(bytes, byte, count * PAGE);
    memset(f->model.bytes + first * PAGE, byte, count * PAGE);
    memset(f->model.touched + first, true, count);
    memset(f->model.written + first, true, count);
}

static void give_back(struct fixture *f, uint64_t first, uint64_t count)
{
    assert_int_equal(guest_memory_discard(&f->memory, first * PAGE, count * PAGE), 0);
    memset(f->model.bytes + first * PAGE, 0, count * PAGE);
    memset(f->model.touched + first, true, count);
    memset(f->model.written + first, true, count);
}

/* ---- files ---- */

static int scratch_file(void)
{
    char path[] = "/var/tmp/tine-test-served-XXXXXX";
    int fd = mkostemp(path, O_CLOEXEC);
    assert_true(fd >= 0);
    unlink(path);
    return fd;
}

/* A private copy of the image. */
static int image_copy(void)
{
    int fd = scratch_file();
    uint64_t words[PAGE / 8];
    for (uint64_t n = 0; n < PAGES; n++) {
        page_fill(n, words);
        assert_int_equal(pwrite(fd, words, PAGE, (off_t)(n * PAGE)), PAGE);
    }
    return fd;
}

static bool has_data(int fd, uint64_t page)
{
    return lseek(fd, (off_t)(page * PAGE), SEEK_DATA) == (off_t)(page * PAGE);
}

static void expect_file(const struct fixture *f, int fd)
{
    uint8_t page[PAGE];
    struct stat st;
    assert_int_equal(fstat(fd, &st), 0);
    assert_int_equal(st.st_size, (off_t)PAGES * PAGE);
    for (uint64_t n = 0; n < PAGES; n++) {
        assert_int_equal(pread(fd, page, PAGE, (off_t)(n * PAGE)), PAGE);
        if (memcmp(page, f->model.bytes + n * PAGE, PAGE) != 0)
            fail_msg("page %llu of the file is not that of memory", (unsigned long long)n);
    }
}

static void diff(struct fixture *f, int fd, bool in_place)
{
    struct error err = {0};
    ok(guest_memory_diff(&f->memory, fd, "file", in_place, NULL, &err), &err);
}

/* A fresh diff has just the pages of `wanted`, each as it is now. */
static void expect_fresh_diff(struct fixture *f, const bool *wanted)
{
    _cleanup_(close) int fd = scratch_file();
    uint8_t page[PAGE];
    struct stat st;
    diff(f, fd, false);
    assert_int_equal(fstat(fd, &st), 0);
    assert_int_equal(st.st_size, (off_t)PAGES * PAGE);
    for (uint64_t n = 0; n < PAGES; n++) {
        if (has_data(fd, n) != wanted[n])
            fail_msg("page %llu is %sin the diff", (unsigned long long)n, wanted[n] ? "not " : "");
        if (!wanted[n])
            continue;
        assert_int_equal(pread(fd, page, PAGE, (off_t)(n * PAGE)), PAGE);
        if (memcmp(page, f->model.bytes + n * PAGE, PAGE) != 0)
            fail_msg("page %llu of the diff is not that of memory", (unsigned long long)n);
    }
}

/* How many pages this process has, by the kernel's account. */
static uint64_t resident(const struct fixture *f)
{
    _cleanup_(page_map) struct page_map map = {.fd = -1};
    struct error err = {0};
    const uint8_t *start, *end;
    uint64_t count = 0;
    ok(page_map_open(&map, &err), &err);
    page_map_begin(&map, f->memory.regions[0].host,
                   f->memory.regions[0].host + f->memory.regions[0].size);
    while (page_map_next(&map, &start, &end, &err) > 0)
        count += (uint64_t)(end - start) / PAGE;
    return count;
}

/* All that can happen to a page. */
static void change(struct fixture *f)
{
    touch(f, 0, 1);
    touch(f, 100, 200);
    fill(f, 5, 1, 0xee);
    fill(f, 63, 3, 0x11);
    fill(f, 1000, 300, 0x77);
    fill(f, PAGES - 1, 1, 0x42);
    fill(f, 30, 3, 0); /* zeros, few and many */
    fill(f, 2000, 64, 0);
    give_back(f, 150, 20);  /* that were read, */
    give_back(f, 1100, 50); /* written, */
    give_back(f, 3000, 40); /* and never touched */
    fill(f, 3010, 2, 0x99); /* and used again */
    touch(f, 3020, 2);
}

/* ---- tests ---- */

static void test_reads(void **state)
{
    struct fixture *f = *state;
    serve(f, (uint64_t)PAGES * PAGE, false);
    assert_int_equal(resident(f), 0);
    touch(f, 0, PAGES);
    give_back(f, 10, 20);
    touch(f, 0, PAGES);
}

static void test_tracked_diff(void **state)
{
    struct fixture *f = *state;
    serve(f, (uint64_t)PAGES * PAGE, true);
    _cleanup_(close) int merged = image_copy();
    const bool nothing[PAGES] = {false};
    expect_fresh_diff(f, nothing);
    change(f);
    const uint64_t before = resident(f);
    /* Until it is said to be saved, as often as one asks. */
    expect_fresh_diff(f, f->model.written);
    expect_fresh_diff(f, f->model.written);
    diff(f, merged, true);
    assert_int_equal(resident(f), before);
    expect_file(f, merged);
    guest_memory_saved(&f->memory);
    expect_fresh_diff(f, nothing);
    /* From there on. */
    memset(f->model.written, 0, sizeof(f->model.written));
    fill(f, 7, 1, 0x21);
    give_back(f, 1000, 3);
    give_back(f, 3010, 1);
    fill(f, 2000, 1, 0x22);
    touch(f, 500, 10);
    expect_fresh_diff(f, f->model.written);
    diff(f, merged, true);
    guest_memory_saved(&f->memory);
    expect_file(f, merged);
    touch(f, 0, PAGES);
}

/* Wherever it fails, the next one has it all. */
static void test_failed_diff(void **state)
{
    struct fixture *f = *state;
    struct error err = {0};
    serve(f, (uint64_t)PAGES * PAGE, true);
    _cleanup_(close) int merged = image_copy();
    change(f);
    setenv("TINE_FAILPOINT", "vmm-memory-data=ENOSPC", 1);
    int r = guest_memory_diff(&f->memory, merged, "some/file", true, NULL, &err);
    unsetenv("TINE_FAILPOINT");
    assert_int_equal(r, -ENOSPC);
    assert_non_null(strstr(err.message, "some/file"));
    fill(f, 8, 1, 0x55);
    expect_fresh_diff(f, f->model.written);
    diff(f, merged, true);
    expect_file(f, merged);
}

/* Without tracking: all that is here, and nothing is fetched for it. */
static void test_untracked_diff(void **state)
{
    struct fixture *f = *state;
    serve(f, (uint64_t)PAGES * PAGE, false);
    _cleanup_(close) int merged = image_copy();
    change(f);
    const uint64_t before = resident(f);
    /* The pager gives neighbours along, so this is by the kernel's account. */
    bool here[PAGES] = {false};
    _cleanup_(page_map) struct page_map map = {.fd = -1};
    struct error err = {0};
    const uint8_t *start, *end, *host = f->memory.regions[0].host;
    ok(page_map_open(&map, &err), &err);
    page_map_begin(&map, host, host + f->memory.regions[0].size);
    while (page_map_next(&map, &start, &end, &err) > 0)
        memset(here + (start - host) / PAGE, true, (size_t)(end - start) / PAGE);
    for (uint64_t n = 0; n < PAGES; n++) {
        assert_true(here[n] || !f->model.touched[n] || page_is_zeros(f->model.bytes + n * PAGE));
        here[n] |= f->model.touched[n];
    }
    expect_fresh_diff(f, here);
    guest_memory_saved(&f->memory);
    expect_fresh_diff(f, here);
    diff(f, merged, true);
    assert_int_equal(resident(f), before);
    expect_file(f, merged);
}

static void test_full(void **state)
{
    struct fixture *f = *state;
    struct error err = {0};
    for (int track = 0; track < 2; track++) {
        serve(f, (uint64_t)PAGES * PAGE, track);
        _cleanup_(close) int fd = scratch_file();
        change(f);
        ok(guest_memory_save(&f->memory, fd, "file", NULL, &err), &err);
        expect_file(f, fd);
        assert_false(has_data(fd, 3000));
        touch(f, 0, PAGES);
    }
}

/* Above and below the gap: each region is served from its place in the image. */
static void test_beyond_the_gap(void **state)
{
    struct fixture *f = *state;
    char path[128];
    uint64_t value = 0;
    snprintf(path, sizeof(path), "%s/memory", f->place->directory);
    _cleanup_(close) int image = open(path, O_RDWR | O_TRUNC | O_CLOEXEC);
    static const uint64_t offsets[] = {0, GIB, 3 * GIB - PAGE, 3 * GIB, 3 * GIB + PAGE};
    static const uint64_t gpas[] = {0, GIB, 3 * GIB - PAGE, 4 * GIB, 4 * GIB + PAGE};
    assert_true(image >= 0 && ftruncate(image, 4 * GIB) == 0);
    for (uint64_t i = 0; i < ARRAY_SIZE(offsets); i++) {
        value = 100 + i;
        assert_int_equal(pwrite(image, &value, 8, (off_t)offsets[i]), 8);
    }
    serve(f, 4 * GIB, true);
    for (uint64_t i = 0; i < ARRAY_SIZE(gpas); i++) {
        assert_int_equal(guest_read(&f->memory, gpas[i], &value, 8), 0);
        assert_int_equal(value, 100 + i);
    }
    value = 7;
    assert_int_equal(guest_write(&f->memory, 4 * GIB + PAGE - 4, &value, 8), 0);
    assert_int_equal(guest_memory_discard(&f->memory, 3 * GIB - PAGE, PAGE), 0);
    assert_int_equal(guest_memory_discard(&f->memory, 5 * GIB - PAGE, PAGE), 0);
    _cleanup_(close) int fd = scratch_file();
    diff(f, fd, false);
    static const uint64_t wanted[] = {3 * GIB - PAGE, 3 * GIB, 3 * GIB + PAGE, 4 * GIB - PAGE};
    off_t at = 0;
    for (uint64_t i = 0; i < ARRAY_SIZE(wanted); i++) {
        at = lseek(fd, at, SEEK_DATA);
        assert_true((uint64_t)at == wanted[i]);
        at += PAGE;
    }
    assert_int_equal(lseek(fd, at, SEEK_DATA), -1);
    assert_int_equal(pread(fd, &value, 8, 3 * GIB - PAGE), 8);
    assert_int_equal(value, 0);
    assert_int_equal(pread(fd, &value, 4, 3 * GIB + PAGE - 4), 4);
    assert_int_equal(value & 0xffffffff, 7);
}

/* A life: random reads, writes and discards, diffs in place and in fresh files, some that fail. */
static void test_random(void **state)
{
    struct fixture *f = *state;
    struct error err = {0};
    unsigned seed = 4711;
    serve(f, (uint64_t)PAGES * PAGE, true);
    _cleanup_(close) int merged = image_copy();
    for (unsigned step = 0; step < 800; step++) {
        uint64_t page = (uint64_t)rand_r(&seed) % PAGES;
        uint64_t count = 1 + (uint64_t)rand_r(&seed) % (step % 9 ? 6 : 100);
        count = count < PAGES - page ? count : PAGES - page;
        switch (rand_r(&seed) % 4) {
        case 0:
            touch(f, page, count);
            break;
        case 1:
            give_back(f, page, count);
            break;
        default:
            fill(f, page, count, rand_r(&seed) % 8 * 30);
        }
        if (step % 50 == 20)
            expect_fresh_diff(f, f->model.written);
        if (step % 50 == 30) {
            setenv("TINE_FAILPOINT", "vmm-memory-data=EIO", 1);
            guest_memory_diff(&f->memory, merged, "file", true, NULL, &err);
            unsetenv("TINE_FAILPOINT");
        }
        if (step % 50 == 49) {
            diff(f, merged, true);
            guest_memory_saved(&f->memory);
            memset(f->model.written, 0, sizeof(f->model.written));
            expect_file(f, merged);
        }
    }
    touch(f, 0, PAGES);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
    const struct CMUnitTest tests[] = {
        TEST(test_reads),          TEST(test_tracked_diff), TEST(test_failed_diff),
        TEST(test_untracked_diff), TEST(test_full),         TEST(test_beyond_the_gap),
        TEST(test_random),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
