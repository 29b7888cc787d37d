/* SPDX-License-Identifier: Apache-2.0 */
/* Diffs of guest memory: what is in the file afterwards is what was in memory, nothing else was
 * written, and the guest never notices. Every test runs on a file of a disk's file system and of
 * tmpfs, and with both ways to ask the kernel. */
#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdbool.h>
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

#include "base/cleanup.h"
#include "pages.h"
#include "vmm/memory.h"
#include "vmm/page_map.h"

#define MIB   (1ull << 20)
#define GIB   (1ull << 30)
#define PAGE  ((uint64_t)GUEST_PAGE_SIZE)
#define SIZE  (16 * MIB)
#define PAGES (SIZE / PAGE)

/* How a test is run. */
static struct {
    bool in_memory; /* files are tmpfs's */
    bool scans;     /* PAGEMAP_SCAN, where the kernel has it */
} mode;

static void set_failpoint(const char *name)
{
    char text[128];
    snprintf(text, sizeof(text), "%s%s", name, mode.scans ? "" : ",vmm-pagemap-scan=ENOTTY");
    setenv("TINE_FAILPOINT", text[0] == ',' ? text + 1 : text, 1);
}

static int scratch_file(void)
{
    char path[] = "/var/tmp/tine-test-diff-XXXXXX";
    int fd = mode.in_memory ? memfd_create("diff", MFD_CLOEXEC) : mkostemp(path, O_CLOEXEC);
    assert_true(fd >= 0);
    if (!mode.in_memory)
        unlink(path);
    return fd;
}

/* Page n holds n + 1 in every word, but every fifth is a hole. */
static int base_file(uint64_t size)
{
    int fd = scratch_file();
    uint64_t page[PAGE / 8];
    assert_int_equal(ftruncate(fd, (off_t)size), 0);
    for (uint64_t n = 0; n < size / PAGE; n++) {
        for (size_t i = 0; i < PAGE / 8; i++)
            page[i] = n + 1;
        if (n % 5 != 4)
            assert_int_equal(pwrite(fd, page, PAGE, (off_t)(n * PAGE)), PAGE);
    }
    return fd;
}

static int copy_of(int fd, uint64_t size)
{
    int copy = scratch_file();
    uint8_t page[PAGE];
    assert_int_equal(ftruncate(copy, (off_t)size), 0);
    for (uint64_t n = 0; n < size / PAGE; n++) {
        assert_int_equal(pread(fd, page, PAGE, (off_t)(n * PAGE)), PAGE);
        assert_int_equal(pwrite(copy, page, PAGE, (off_t)(n * PAGE)), PAGE);
    }
    return copy;
}

static struct guest_memory map(int fd, uint64_t size)
{
    struct guest_memory memory;
    struct error err = {0};
    assert_int_equal(guest_memory_map(&memory, size, fd, "base", &err), 0);
    return memory;
}

/* Read, not mapped. */
static void expect_file(int fd, const uint8_t *bytes, uint64_t size)
{
    uint8_t page[PAGE];
    struct stat st;
    assert_int_equal(fstat(fd, &st), 0);
    assert_int_equal(st.st_size, size);
    for (uint64_t n = 0; n < size / PAGE; n++) {
        assert_int_equal(pread(fd, page, PAGE, (off_t)(n * PAGE)), PAGE);
        if (memcmp(page, bytes + n * PAGE, PAGE) != 0)
            fail_msg("page %llu of the file is not that of memory", (unsigned long long)n);
    }
}

static uint64_t diff(const struct guest_memory *memory, int fd, bool in_place)
{
    uint64_t written = 0;
    struct error err = {0};
    if (guest_memory_diff(memory, fd, "file", in_place, &written, &err) < 0)
        fail_msg("%s", err.message);
    return written;
}

/* The file is as memory, and memory is as it was. */
static uint64_t merge(const struct guest_memory *memory, int fd)
{
    _cleanup_(free) uint8_t *before = remember(memory);
    uint64_t written = diff(memory, fd, true);
    expect_file(fd, before, memory->size);
    assert_memory_equal(memory->regions[0].host, before, memory->size);
    return written;
}

static bool has_data(int fd, uint64_t page)
{
    return lseek(fd, (off_t)(page * PAGE), SEEK_DATA) == (off_t)(page * PAGE);
}

/* Everything that can happen to a page: written, at both ends and across a batch; read; written
 * with what it held; made zero, few and many at a time; given back, and used again. Returns the
 * bytes that have to be written into the base. */
static uint64_t change(struct guest_memory *memory)
{
    static const uint64_t changed[] = {0, 7, 8, 9, 511, 512, 513, 1023, 1024, PAGES - 1};
    for (size_t i = 0; i < ARRAY_SIZE(changed); i++)
        memset(page_of(memory, changed[i]) + 100, 0xee, 8);
    for (uint64_t n = 2000; n < 2600; n++) /* longer than one write */
        *page_of(memory, n) = 0x77;
    uint64_t same = *page_of(memory, 20) == 21;
    *(volatile uint8_t *)page_of(memory, 20) = 21;
    for (uint64_t n = 1100; n < 1200; n++)
        (void)*(volatile uint8_t *)page_of(memory, n);
    memset(page_of(memory, 30), 0, 3 * PAGE);
    memset(page_of(memory, 3000), 0, 64 * PAGE);
    assert_int_equal(guest_memory_discard(memory, 40 * PAGE, 2 * PAGE), 0);
    assert_int_equal(guest_memory_discard(memory, 3200 * PAGE, 100 * PAGE), 0);
    memset(page_of(memory, 3250), 0x55, 1);
    (void)*(volatile uint8_t *)page_of(memory, 3260); /* the zero page */
    assert_int_equal(same, 1);
    return (ARRAY_SIZE(changed) + 600 + 1 + 1) * PAGE;
}

/* Short runs of zeros are written, from where there was data: pages 30 to 32, 40 and 41. */
#define SHORT_ZEROS (5 * PAGE)

static void test_merge_into_mapped(void **context)
{
    _cleanup_(close) int fd = base_file(SIZE);
    struct guest_memory memory = map(fd, SIZE);
    set_failpoint("");
    assert_int_equal(merge(&memory, fd), 0);
    uint64_t expected = change(&memory);
    assert_int_equal(merge(&memory, fd), expected + SHORT_ZEROS);
    assert_false(has_data(fd, 3020));
    assert_false(has_data(fd, 3230));
    assert_true(has_data(fd, 3250));
    /* Again, and from then on. */
    merge(&memory, fd);
    *page_of(&memory, 1500) = 3;
    *page_of(&memory, 3020) = 3;
    *page_of(&memory, 3230) = 3;
    assert_int_equal(guest_memory_discard(&memory, 2000 * PAGE, 300 * PAGE), 0);
    merge(&memory, fd);
    guest_memory_release(&memory);
    memory = map(fd, SIZE);
    assert_int_equal(*page_of(&memory, 1500), 3);
    assert_int_equal(merge(&memory, fd), 0);
    guest_memory_release(&memory);
}

static void test_merge_into_copy(void **context)
{
    _cleanup_(close) int fd = base_file(SIZE);
    _cleanup_(close) int copy = copy_of(fd, SIZE);
    _cleanup_(close) int untouched = copy_of(fd, SIZE);
    struct guest_memory memory = map(fd, SIZE), before = map(untouched, SIZE);
    set_failpoint("");
    change(&memory);
    merge(&memory, copy);
    expect_file(fd, before.regions[0].host, SIZE);
    guest_memory_release(&before);
    guest_memory_release(&memory);
}

/* Wherever it fails the guest goes on, and the next one is whole. */
static void test_merge_fails(void **context)
{
    _cleanup_(close) int fd = base_file(SIZE);
    struct guest_memory memory = map(fd, SIZE);
    struct error err = {0};
    change(&memory);
    _cleanup_(free) uint8_t *before = remember(&memory);
    set_failpoint("vmm-memory-data=ENOSPC");
    assert_int_equal(guest_memory_diff(&memory, fd, "some/file", true, NULL, &err), -ENOSPC);
    assert_non_null(strstr(err.message, "some/file"));
    assert_memory_equal(memory.regions[0].host, before, SIZE);
    set_failpoint("");
    /* Half of it: the file is of no moment. */
    struct rlimit limit, low;
    signal(SIGXFSZ, SIG_IGN);
    assert_int_equal(getrlimit(RLIMIT_FSIZE, &limit), 0);
    low = (struct rlimit){.rlim_cur = 2100 * PAGE, .rlim_max = limit.rlim_max};
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &low), 0);
    int r = guest_memory_diff(&memory, fd, "some/file", true, NULL, &err);
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &limit), 0);
    signal(SIGXFSZ, SIG_DFL);
    assert_int_equal(r, -EFBIG);
    uint8_t byte = 0;
    assert_int_equal(pread(fd, &byte, 1, 2000 * PAGE), 1);
    assert_int_equal(byte, 0x77);
    assert_memory_equal(memory.regions[0].host, before, SIZE);
    *page_of(&memory, 8) = 1;
    merge(&memory, fd);
    guest_memory_release(&memory);
}

/* A file that can't be written, or not cleared, is named. */
static void test_merge_errors(void **context)
{
    _cleanup_(close) int fd = base_file(SIZE);
    struct guest_memory memory = map(fd, SIZE);
    struct error err = {0};
    char path[64];
    snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
    _cleanup_(close) int read_only = open(path, O_RDONLY | O_CLOEXEC);
    assert_true(read_only >= 0);
    set_failpoint("");
    assert_int_equal(guest_memory_diff(&memory, read_only, "some/file", true, NULL, &err), 0);
    assert_int_equal(guest_memory_discard(&memory, 0, MIB), 0);
    assert_int_equal(guest_memory_diff(&memory, read_only, "some/file", true, NULL, &err), -EBADF);
    assert_non_null(strstr(err.message, "some/file"));
    *page_of(&memory, 0) = 9;
    assert_int_equal(guest_memory_diff(&memory, read_only, "some/file", true, NULL, &err), -EBADF);
    assert_non_null(strstr(err.message, "some/file"));
    guest_memory_release(&memory);
}

/* What whoever applies a diff by its data extents gets is the image. */
static void test_new_file_over_base(void **context)
{
    _cleanup_(close) int fd = base_file(SIZE);
    _cleanup_(close) int fresh = scratch_file();
    struct guest_memory memory = map(fd, SIZE);
    uint8_t page[PAGE];
    set_failpoint("");
    change(&memory);
    _cleanup_(free) uint8_t *before = remember(&memory);
    uint64_t written = diff(&memory, fresh, false);
    assert_int_equal(written, (10 + 600 + 1 + 3 + 64 + 2 + 100) * PAGE);
    assert_false(has_data(fresh, 1150));
    for (uint64_t n = 0; n < PAGES; n++) {
        if (!has_data(fresh, n))
            continue;
        assert_int_equal(pread(fresh, page, PAGE, (off_t)(n * PAGE)), PAGE);
        assert_int_equal(pwrite(fd, page, PAGE, (off_t)(n * PAGE)), PAGE);
    }
    expect_file(fd, before, SIZE);
    guest_memory_release(&memory);
}

/* Without a base a diff is everything, and a file that is there becomes that. */
static void test_without_base(void **context)
{
    _cleanup_(close) int fresh = scratch_file();
    _cleanup_(close) int used = base_file(SIZE);
    struct guest_memory memory;
    struct error err = {0};
    set_failpoint("");
    assert_int_equal(guest_memory_create(&memory, SIZE, &err), 0);
    for (uint64_t n = 100; n < 900; n += 3)
        *page_of(&memory, n) = 1;
    memset(page_of(&memory, 1000), 0, 100 * PAGE);
    _cleanup_(free) uint8_t *before = malloc(SIZE);
    assert_non_null(before);
    uint64_t written = diff(&memory, fresh, false);
    assert_int_equal(written, 267 * PAGE);
    diff(&memory, used, true);
    memcpy(before, memory.regions[0].host, SIZE);
    expect_file(fresh, before, SIZE);
    expect_file(used, before, SIZE);
    assert_false(has_data(used, PAGES - 200));
    guest_memory_release(&memory);
}

/* Two regions, and gigabytes that were never touched. */
static void test_beyond_the_gap(void **context)
{
    _cleanup_(close) int fd = scratch_file();
    uint64_t value = 0x1122334455667788, back = 0;
    assert_int_equal(ftruncate(fd, 3 * GIB + MIB), 0);
    struct guest_memory memory = map(fd, 3 * GIB + MIB);
    set_failpoint("");
    assert_int_equal(guest_write(&memory, 3 * GIB - 8, &value, 8), 0);
    assert_int_equal(guest_write(&memory, 4 * GIB, &value, 8), 0);
    assert_int_equal(guest_memory_discard(&memory, GIB, GIB), 0);
    assert_int_equal(diff(&memory, fd, true), 2 * PAGE);
    assert_int_equal(pread(fd, &back, 8, 3 * GIB - 8), 8);
    assert_true(back == value);
    assert_int_equal(pread(fd, &back, 8, 3 * GIB), 8);
    assert_true(back == value);
    guest_memory_release(&memory);
}

/* Anonymous huge pages, in what was given back and is used again. */
static void test_huge_pages(void **context)
{
    _cleanup_(close) int fd = base_file(SIZE);
    struct guest_memory memory = map(fd, SIZE);
    set_failpoint("");
    assert_int_equal(guest_memory_discard(&memory, 4 * MIB, 8 * MIB), 0);
    madvise(guest_pointer(&memory, 4 * MIB, 8 * MIB), 8 * MIB, MADV_HUGEPAGE);
    memset(guest_pointer(&memory, 6 * MIB + 5 * PAGE, 1), 0x31, 1);
    merge(&memory, fd);
    guest_memory_release(&memory);
}

/* Cycles of a VM's life: random changes, merges, failed merges, restores. */
static void test_random(void **context)
{
    _cleanup_(close) int fd = base_file(SIZE);
    struct guest_memory memory = map(fd, SIZE);
    struct error err = {0};
    unsigned seed = 4711;
    for (unsigned step = 0; step < 600; step++) {
        uint64_t page = (uint64_t)rand_r(&seed) % PAGES;
        uint64_t count = 1 + (uint64_t)rand_r(&seed) % (step % 7 ? 8 : 200);
        count = count < PAGES - page ? count : PAGES - page;
        switch (rand_r(&seed) % 4) {
        case 0:
            assert_int_equal(guest_memory_discard(&memory, page * PAGE, count * PAGE), 0);
            break;
        case 1:
            memset(page_of(&memory, page), 0, count * PAGE);
            break;
        default:
            memset(page_of(&memory, page), rand_r(&seed) & 0xff, count * PAGE);
        }
        if (step % 40 == 20) {
            set_failpoint("vmm-memory-data=EIO");
            _cleanup_(free) uint8_t *before = remember(&memory);
            guest_memory_diff(&memory, fd, "file", true, NULL, &err);
            assert_memory_equal(memory.regions[0].host, before, SIZE);
            set_failpoint("");
        }
        if (step % 40 == 39)
            merge(&memory, fd);
        if (step % 120 == 119) {
            _cleanup_(free) uint8_t *before = remember(&memory);
            guest_memory_release(&memory);
            memory = map(fd, SIZE);
            assert_memory_equal(memory.regions[0].host, before, SIZE);
        }
    }
    guest_memory_release(&memory);
}

/* Both ways say the same; where the kernel has but one, that one says it twice. */
static void test_both_ways_agree(void **context)
{
    _cleanup_(close) int fd = base_file(SIZE);
    struct guest_memory memory = map(fd, SIZE);
    bool own[2][PAGES] = {{false}};
    const bool scans = mode.scans;
    change(&memory);
    for (int way = 0; way < 2; way++) {
        _cleanup_(page_map) struct page_map pages = {.fd = -1};
        struct error err = {0};
        const uint8_t *start, *end;
        mode.scans = way;
        set_failpoint("");
        assert_int_equal(page_map_open(&pages, &err), 0);
        page_map_begin(&pages, memory.regions[0].host, memory.regions[0].host + SIZE);
        while (page_map_next(&pages, &start, &end, &err) > 0) {
            for (; start < end; start += PAGE)
                own[way][(uint64_t)(start - memory.regions[0].host) / PAGE] = true;
        }
        assert_string_equal(err.message, "");
    }
    mode.scans = scans;
    assert_memory_equal(own[0], own[1], sizeof(own[0]));
    assert_true(own[0][8] && own[0][2599] && own[0][31] && own[0][20]);
    assert_false(own[0][1150] || own[0][2600] || own[0][3230]);
    guest_memory_release(&memory);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_merge_into_mapped),
        cmocka_unit_test(test_merge_into_copy),
        cmocka_unit_test(test_merge_fails),
        cmocka_unit_test(test_merge_errors),
        cmocka_unit_test(test_new_file_over_base),
        cmocka_unit_test(test_without_base),
        cmocka_unit_test(test_beyond_the_gap),
        cmocka_unit_test(test_huge_pages),
        cmocka_unit_test(test_random),
        cmocka_unit_test(test_both_ways_agree),
    };
    int failed = 0;
    for (unsigned i = 0; i < 4; i++) {
        mode.in_memory = i & 1;
        mode.scans = i & 2;
        print_message("%s, %s\n", mode.in_memory ? "tmpfs" : "a disk",
                      mode.scans ? "PAGEMAP_SCAN" : "/proc/self/pagemap");
        failed += cmocka_run_group_tests(tests, NULL, NULL);
    }
    return failed;
}
