/* SPDX-License-Identifier: Apache-2.0 */
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
#include "vmm/memory.h"

#define MIB  (1ull << 20)
#define GIB  (1ull << 30)
#define PAGE ((uint64_t)GUEST_PAGE_SIZE)

/* A nameless file. */
static int scratch_file(void)
{
    char path[] = "/tmp/tine-test-memory-XXXXXX";
    int fd = mkostemp(path, O_CLOEXEC);
    assert_true(fd >= 0);
    unlink(path);
    return fd;
}

static void expect_region(const struct guest_memory *memory, unsigned index, uint64_t gpa,
                          uint64_t size, uint64_t file_offset)
{
    assert_true(index < memory->region_count);
    assert_true(memory->regions[index].gpa == gpa);
    assert_true(memory->regions[index].size == size);
    assert_true(memory->regions[index].file_offset == file_offset);
}

static void test_layout(void **context)
{
    (void)context;
    struct guest_memory memory;
    struct error err = {0};
    assert_int_equal(guest_memory_layout(&memory, 32 * MIB, &err), 0);
    assert_int_equal(memory.region_count, 1);
    expect_region(&memory, 0, 0, 32 * MIB, 0);
    assert_int_equal(guest_memory_layout(&memory, 3 * GIB, &err), 0);
    assert_int_equal(memory.region_count, 1);
    expect_region(&memory, 0, 0, 3 * GIB, 0);
    assert_int_equal(guest_memory_layout(&memory, 3 * GIB + PAGE, &err), 0);
    assert_int_equal(memory.region_count, 2);
    expect_region(&memory, 1, 4 * GIB, PAGE, 3 * GIB);
    assert_int_equal(guest_memory_layout(&memory, 5 * GIB, &err), 0);
    assert_int_equal(memory.region_count, 2);
    expect_region(&memory, 0, 0, 3 * GIB, 0);
    expect_region(&memory, 1, 4 * GIB, 2 * GIB, 3 * GIB);
    assert_int_equal(guest_memory_layout(&memory, 300 * GIB, &err), 0);
    assert_int_equal(memory.region_count, 3);
    expect_region(&memory, 0, 0, 3 * GIB, 0);
    expect_region(&memory, 1, 4 * GIB, 252 * GIB, 3 * GIB);
    expect_region(&memory, 2, 512 * GIB, 45 * GIB, 255 * GIB);
    assert_true(memory.size == 300 * GIB);
}

static void test_layout_refuses(void **context)
{
    (void)context;
    static const uint64_t sizes[] = {0,       1,          4096,       MIB - 4096,
                                     MIB + 1, 1ull << 60, UINT64_MAX, UINT64_MAX - 4095};
    for (size_t i = 0; i < ARRAY_SIZE(sizes); i++) {
        struct guest_memory memory;
        struct error err = {0};
        assert_true(guest_memory_layout(&memory, sizes[i], &err) < 0);
        assert_int_equal(err.code, ERROR_INVALID);
    }
}

static void test_create(void **context)
{
    (void)context;
    struct guest_memory memory;
    struct error err = {0};
    assert_int_equal(guest_memory_create(&memory, 5 * GIB, &err), 0);
    for (unsigned i = 0; i < memory.region_count; i++)
        assert_int_equal((uintptr_t)memory.regions[i].host % (2 * MIB), 0);
    uint64_t value = 0x1122334455667788, back = 0;
    assert_int_equal(guest_write(&memory, 6 * GIB - 8, &value, sizeof(value)), 0);
    assert_int_equal(guest_read(&memory, 6 * GIB - 8, &back, sizeof(back)), 0);
    assert_true(back == value);
    guest_memory_release(&memory);
    assert_int_equal(memory.region_count, 0);
    assert_null(guest_pointer(&memory, 0, 1));
    guest_memory_release(&memory); /* harmless */
}

static void test_accessor_bounds(void **context)
{
    (void)context;
    struct guest_memory memory;
    struct error err = {0};
    assert_int_equal(guest_memory_create(&memory, 3 * GIB + MIB, &err), 0);
    static const struct {
        uint64_t gpa, length;
        bool inside;
    } cases[] = {
        {0, 1, true},
        {0, 3 * GIB, true},
        {0, 3 * GIB + 1, false},
        {3 * GIB - 1, 1, true},
        {3 * GIB - 1, 2, false},
        {3 * GIB, 0, true}, /* an empty range at the end points nowhere wrong */
        {3 * GIB, 1, false},
        {3 * GIB + 1, 0, false},
        {4 * GIB - 1, 1, false},
        {4 * GIB - 1, 2, false},
        {4 * GIB, MIB, true},
        {4 * GIB, MIB + 1, false},
        {4 * GIB + MIB, 1, false},
        {1, UINT64_MAX, false},
        {UINT64_MAX, 1, false},
        {UINT64_MAX, UINT64_MAX, false},
        {4 * GIB, UINT64_MAX - 4 * GIB + 1, false},
        {4 * GIB + 1, UINT64_MAX - 4 * GIB, false},
        {0, UINT64_MAX, false},
    };
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++)
        assert_int_equal(guest_pointer(&memory, cases[i].gpa, cases[i].length) != NULL,
                         cases[i].inside);
    guest_memory_release(&memory);
}

static void test_copy_is_all_or_nothing(void **context)
{
    (void)context;
    struct guest_memory memory;
    struct error err = {0};
    assert_int_equal(guest_memory_create(&memory, MIB, &err), 0);
    uint8_t buffer[16];
    memset(buffer, 0xaa, sizeof(buffer));
    assert_int_equal(guest_write(&memory, MIB - 8, buffer, sizeof(buffer)), -EFAULT);
    uint8_t zeros[8] = {0};
    assert_memory_equal(guest_pointer(&memory, MIB - 8, 8), zeros, 8);
    assert_int_equal(guest_read(&memory, MIB - 8, buffer, sizeof(buffer)), -EFAULT);
    assert_int_equal(buffer[0], 0xaa);
    guest_memory_release(&memory);
}

/* A file of `size` bytes whose page n holds n + 1 in every byte. */
static int patterned_file(uint64_t size)
{
    int fd = scratch_file();
    uint8_t page[PAGE];
    for (uint64_t n = 0; n < size / PAGE; n++) {
        memset(page, (int)(n + 1) & 0xff, sizeof(page));
        assert_int_equal(pwrite(fd, page, sizeof(page), (off_t)(n * PAGE)), sizeof(page));
    }
    return fd;
}

static void test_map_is_private(void **context)
{
    (void)context;
    _cleanup_(close) int fd = patterned_file(MIB);
    struct guest_memory memory;
    struct error err = {0};
    assert_int_equal(guest_memory_map(&memory, MIB, fd, "file", &err), 0);
    assert_int_equal(memory.backing, GUEST_FILE);
    uint8_t byte = 0;
    assert_int_equal(guest_read(&memory, PAGE, &byte, 1), 0);
    assert_int_equal(byte, 2);
    byte = 0x77;
    assert_int_equal(guest_write(&memory, PAGE, &byte, 1), 0);
    assert_int_equal(pread(fd, &byte, 1, PAGE), 1);
    assert_int_equal(byte, 2);
    guest_memory_release(&memory);
}

/* The page's entry in /proc/self/pagemap. */
static uint64_t page_entry(const uint8_t *host)
{
    uint64_t entry = 0;
    _cleanup_(close) int fd = open("/proc/self/pagemap", O_RDONLY | O_CLOEXEC);
    assert_true(fd >= 0);
    const off_t offset = (off_t)((uintptr_t)host / PAGE * sizeof(entry));
    assert_int_equal(pread(fd, &entry, sizeof(entry), offset), sizeof(entry));
    return entry;
}

static bool is_mapped(const struct guest_memory *memory, uint64_t page)
{
    return page_entry(memory->regions[0].host + page * PAGE) >> 63;
}

static int populate(const struct guest_memory *memory, uint64_t page, uint64_t count,
                    struct error *err)
{
    const struct guest_pages pages = {page, count};
    return guest_memory_populate(memory, &pages, false, err);
}

/* What is populated is there, and still the file's. */
static void test_populate(void **context)
{
    (void)context;
    _cleanup_(close) int fd = patterned_file(4 * MIB);
    struct guest_memory memory;
    struct error err = {0};
    assert_int_equal(guest_memory_map(&memory, 4 * MIB, fd, "file", &err), 0);
    assert_false(is_mapped(&memory, 300));
    assert_int_equal(populate(&memory, 300, 17, &err), 0);
    for (uint64_t page = 300; page < 317; page++) {
        assert_true(is_mapped(&memory, page));
        assert_true(page_entry(memory.regions[0].host + page * PAGE) >> 61 & 1);
    }
    assert_false(is_mapped(&memory, 900));
    assert_int_equal(populate(&memory, 0, 0, &err), 0);
    assert_int_equal(populate(&memory, 1024, 0, &err), 0);
    assert_int_equal(populate(&memory, 1023, 1, &err), 0);
    static const uint64_t wrong[][2] = {{1024, 1},       {1023, 2},       {1025, 0},
                                        {1, UINT64_MAX}, {UINT64_MAX, 1}, {UINT64_MAX, UINT64_MAX}};
    for (size_t i = 0; i < ARRAY_SIZE(wrong); i++) {
        assert_int_equal(populate(&memory, wrong[i][0], wrong[i][1], &err), -EINVAL);
        assert_non_null(strstr(err.message, "not all in guest memory"));
    }
    guest_memory_release(&memory);
}

/* Populated as if it had been written, a page is our own, with what the file has. */
static void test_populate_own(void **context)
{
    (void)context;
    _cleanup_(close) int fd = patterned_file(4 * MIB);
    const struct guest_pages pages = {300, 17};
    struct guest_memory memory;
    struct error err = {0};
    uint8_t byte = 0;
    assert_int_equal(guest_memory_map(&memory, 4 * MIB, fd, "file", &err), 0);
    assert_int_equal(guest_memory_populate(&memory, &pages, true, &err), 0);
    for (uint64_t page = 300; page < 317; page++) {
        assert_true(is_mapped(&memory, page));
        assert_false(page_entry(memory.regions[0].host + page * PAGE) >> 61 & 1);
        assert_int_equal(guest_read(&memory, page * PAGE, &byte, 1), 0);
        assert_int_equal(byte, (uint8_t)(page + 1));
    }
    guest_memory_release(&memory);
}

struct told {
    struct guest_pages own[8];
    size_t own_count, runs;
    bool read[1024];
};

static int tell(void *context, const struct guest_pages *pages, bool own, struct error *err)
{
    struct told *told = context;
    told->runs++;
    if (own && told->own_count < ARRAY_SIZE(told->own))
        told->own[told->own_count++] = *pages;
    for (uint64_t i = 0; !own && i < pages->count; i++)
        told->read[pages->page + i] = true;
    return told->runs == SIZE_MAX ? error_set(err, ERROR_SYSTEM, EIO, "enough") : 0;
}

/* What was read, with some neighbours, and what was written; whichever way the kernel is asked. */
static void test_touched(void **context)
{
    (void)context;
    _cleanup_(close) int fd = patterned_file(4 * MIB);
    struct guest_memory memory;
    struct error err = {0};
    uint8_t byte = 7;
    assert_int_equal(guest_memory_map(&memory, 4 * MIB, fd, "file", &err), 0);
    for (unsigned way = 0; way < 2; way++) {
        struct told told = {.runs = 0};
        assert_int_equal(setenv("TINE_FAILPOINT", way == 0 ? "" : "vmm-pagemap-scan=ENOTTY", 1), 0);
        assert_int_equal(guest_memory_touched(&memory, tell, &told, &err), 0);
        if (way == 0) {
            assert_int_equal(told.runs, 0);
            assert_int_equal(guest_read(&memory, 100 * PAGE, &byte, 1), 0);
            for (uint64_t page = 600; page < 603; page++)
                assert_int_equal(guest_write(&memory, page * PAGE, &byte, 1), 0);
            assert_int_equal(guest_write(&memory, 1023 * PAGE, &byte, 1), 0);
            assert_int_equal(guest_memory_touched(&memory, tell, &told, &err), 0);
        }
        assert_int_equal(told.own_count, 2);
        assert_int_equal(told.own[0].page, 600);
        assert_int_equal(told.own[0].count, 3);
        assert_int_equal(told.own[1].page, 1023);
        assert_int_equal(told.own[1].count, 1);
        assert_true(told.read[100]);
        for (uint64_t page = 0; page < 1024; page++)
            assert_int_equal(told.read[page], page < 600 && is_mapped(&memory, page));
    }
    unsetenv("TINE_FAILPOINT");
    struct told enough = {.runs = SIZE_MAX - 1};
    assert_int_equal(guest_memory_touched(&memory, tell, &enough, &err), -EIO);
    guest_memory_release(&memory);
}

static void test_map_needs_only_reading(void **context)
{
    (void)context;
    _cleanup_(close) int fd = patterned_file(MIB);
    char path[64];
    snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
    int read_only = open(path, O_RDONLY | O_CLOEXEC);
    assert_true(read_only >= 0);
    struct guest_memory memory;
    struct error err = {0};
    assert_int_equal(guest_memory_map(&memory, MIB, read_only, "file", &err), 0);
    close(read_only);
    uint8_t byte = 9;
    assert_int_equal(guest_write(&memory, 0, &byte, 1), 0);
    guest_memory_release(&memory);
}

static void test_map_wrong_size(void **context)
{
    (void)context;
    _cleanup_(close) int fd = scratch_file();
    static const off_t sizes[] = {0, MIB - 4096, MIB - 1, MIB + 1, MIB + 4096, 2 * MIB};
    for (size_t i = 0; i < ARRAY_SIZE(sizes); i++) {
        assert_int_equal(ftruncate(fd, sizes[i]), 0);
        struct guest_memory memory;
        struct error err = {0};
        assert_int_equal(guest_memory_map(&memory, MIB, fd, "some/file", &err), -EINVAL);
        char size[32];
        snprintf(size, sizeof(size), "%lld", (long long)sizes[i]);
        assert_non_null(strstr(err.message, "some/file"));
        assert_non_null(strstr(err.message, size));
        assert_non_null(strstr(err.message, "1048576"));
    }
}

static void test_map_not_a_file(void **context)
{
    (void)context;
    _cleanup_(close) int fd = open("/dev/null", O_RDONLY | O_CLOEXEC);
    assert_true(fd >= 0);
    struct guest_memory memory;
    struct error err = {0};
    assert_int_equal(guest_memory_map(&memory, MIB, fd, "/dev/null", &err), -EINVAL);
    assert_non_null(strstr(err.message, "not a regular file"));
}

static void expect_bytes(const struct guest_memory *memory, uint64_t gpa, uint64_t length,
                         uint8_t value)
{
    const uint8_t *bytes = guest_pointer(memory, gpa, length);
    assert_non_null(bytes);
    for (uint64_t i = 0; i < length; i++)
        assert_int_equal(bytes[i], value);
}

static void test_discard_file(void **context)
{
    (void)context;
    _cleanup_(close) int fd = patterned_file(MIB);
    struct guest_memory memory;
    struct error err = {0};
    assert_int_equal(guest_memory_map(&memory, MIB, fd, "file", &err), 0);
    memset(guest_pointer(&memory, 3 * PAGE, 1), 0x55, 1); /* a private page as well */
    assert_int_equal(guest_memory_discard(&memory, 2 * PAGE, 2 * PAGE), 0);
    expect_bytes(&memory, PAGE, PAGE, 2);
    expect_bytes(&memory, 2 * PAGE, 2 * PAGE, 0);
    expect_bytes(&memory, 4 * PAGE, PAGE, 5);
    /* It can be used and discarded again. */
    memset(guest_pointer(&memory, 2 * PAGE, 1), 0x66, 1);
    assert_int_equal(guest_memory_discard(&memory, 2 * PAGE, PAGE), 0);
    expect_bytes(&memory, 2 * PAGE, PAGE, 0);
    guest_memory_release(&memory);
}

static void test_discard_anonymous(void **context)
{
    (void)context;
    struct guest_memory memory;
    struct error err = {0};
    assert_int_equal(guest_memory_create(&memory, MIB, &err), 0);
    memset(guest_pointer(&memory, 0, MIB), 0x11, MIB);
    assert_int_equal(guest_memory_discard(&memory, PAGE, PAGE), 0);
    expect_bytes(&memory, 0, PAGE, 0x11);
    expect_bytes(&memory, PAGE, PAGE, 0);
    assert_int_equal(guest_memory_discard(&memory, 0, 0), 0);
    assert_int_equal(guest_memory_discard(&memory, 1, PAGE), -EINVAL);
    assert_int_equal(guest_memory_discard(&memory, 0, 1), -EINVAL);
    assert_int_equal(guest_memory_discard(&memory, MIB, PAGE), -EFAULT);
    assert_int_equal(guest_memory_discard(&memory, 0, MIB + PAGE), -EFAULT);
    assert_int_equal(guest_memory_discard(&memory, PAGE, UINT64_MAX - 4095), -EFAULT);
    guest_memory_release(&memory);
}

static void expect_same(const struct guest_memory *a, const struct guest_memory *b)
{
    assert_int_equal(a->region_count, b->region_count);
    for (unsigned i = 0; i < a->region_count; i++)
        assert_int_equal(memcmp(a->regions[i].host, b->regions[i].host, a->regions[i].size), 0);
}

/* Runs of several lengths, one longer than a single write, one at the very end. */
static void fill_some(struct guest_memory *memory)
{
    static const struct {
        uint64_t page, count;
    } runs[] = {{0, 1}, {2, 3}, {100, 700}, {1500, 1}, {2047, 1}};
    for (size_t i = 0; i < ARRAY_SIZE(runs); i++) {
        uint64_t length = runs[i].count * PAGE;
        uint8_t *bytes = guest_pointer(memory, runs[i].page * PAGE, length);
        assert_non_null(bytes);
        for (uint64_t b = 0; b < length; b += 512)
            bytes[b] = (uint8_t)((b / PAGE + i) * 2 + 1); /* never 0 */
        bytes[length - 1] = 1; /* the last byte of a page counts as well */
    }
    /* Touched, read or written, but zero: holes. */
    *(volatile uint8_t *)guest_pointer(memory, 50 * PAGE, 1) = 0;
    (void)*(volatile uint8_t *)guest_pointer(memory, 60 * PAGE, 1);
}

#define FILLED_PAGES (1 + 3 + 700 + 1 + 1)

static void test_save_round_trip(void **context)
{
    (void)context;
    struct guest_memory memory, again;
    struct error err = {0};
    assert_int_equal(guest_memory_create(&memory, 8 * MIB, &err), 0);
    fill_some(&memory);
    _cleanup_(close) int fd = scratch_file();
    uint64_t written = 0;
    assert_int_equal(guest_memory_save(&memory, fd, "file", &written, &err), 0);
    assert_int_equal(written, FILLED_PAGES * PAGE);
    struct stat st;
    assert_int_equal(fstat(fd, &st), 0);
    assert_int_equal(st.st_size, 8 * MIB);
    assert_int_equal(lseek(fd, 16 * PAGE, SEEK_DATA), 100 * PAGE);
    assert_true(lseek(fd, 100 * PAGE, SEEK_HOLE) < 1500 * (off_t)PAGE);
    assert_int_equal(guest_memory_map(&again, 8 * MIB, fd, "file", &err), 0);
    expect_same(&memory, &again);
    /* And once more out of the mapping, with a discarded and a changed page. */
    assert_int_equal(guest_memory_discard(&again, 0, PAGE), 0);
    assert_int_equal(guest_memory_discard(&memory, 0, PAGE), 0);
    memset(guest_pointer(&again, 9 * PAGE, 1), 0x42, 1);
    memset(guest_pointer(&memory, 9 * PAGE, 1), 0x42, 1);
    _cleanup_(close) int second = scratch_file();
    assert_int_equal(guest_memory_save(&again, second, "file", &written, &err), 0);
    assert_int_equal(written, FILLED_PAGES * PAGE);
    guest_memory_release(&again);
    assert_int_equal(guest_memory_map(&again, 8 * MIB, second, "file", &err), 0);
    expect_same(&memory, &again);
    guest_memory_release(&again);
    guest_memory_release(&memory);
}

static void test_save_empty(void **context)
{
    (void)context;
    struct guest_memory memory;
    struct error err = {0};
    assert_int_equal(guest_memory_create(&memory, 64 * MIB, &err), 0);
    _cleanup_(close) int fd = scratch_file();
    uint64_t written = 1;
    assert_int_equal(guest_memory_save(&memory, fd, "file", &written, &err), 0);
    assert_int_equal(written, 0);
    assert_int_equal(lseek(fd, 0, SEEK_END), 64 * MIB);
    guest_memory_release(&memory);
}

/* Two regions: the gap is not in the file. The second region lies at 3 GiB of a sparse file. */
static void test_save_skips_gap(void **context)
{
    (void)context;
    struct guest_memory memory;
    struct error err = {0};
    assert_int_equal(guest_memory_create(&memory, 3 * GIB + MIB, &err), 0);
    uint64_t low = 0x1111, high = 0x2222, back = 0;
    assert_int_equal(guest_write(&memory, 3 * GIB - 8, &low, sizeof(low)), 0);
    assert_int_equal(guest_write(&memory, 4 * GIB, &high, sizeof(high)), 0);
    _cleanup_(close) int fd = scratch_file();
    uint64_t written = 0;
    assert_int_equal(guest_memory_save(&memory, fd, "file", &written, &err), 0);
    assert_int_equal(written, 2 * PAGE);
    assert_int_equal(pread(fd, &back, sizeof(back), 3 * GIB - 8), sizeof(back));
    assert_true(back == low);
    assert_int_equal(pread(fd, &back, sizeof(back), 3 * GIB), sizeof(back));
    assert_true(back == high);
    guest_memory_release(&memory);
    assert_int_equal(guest_memory_map(&memory, 3 * GIB + MIB, fd, "file", &err), 0);
    assert_int_equal(guest_read(&memory, 4 * GIB, &back, sizeof(back)), 0);
    assert_true(back == high);
    guest_memory_release(&memory);
}

/* The file size limit stands for everything that can go wrong with a write. */
static void test_save_error_names_file(void **context)
{
    (void)context;
    struct guest_memory memory;
    struct error err = {0};
    struct rlimit before, low;
    assert_int_equal(guest_memory_create(&memory, 8 * MIB, &err), 0);
    fill_some(&memory);
    _cleanup_(close) int fd = scratch_file();
    signal(SIGXFSZ, SIG_IGN);
    assert_int_equal(getrlimit(RLIMIT_FSIZE, &before), 0);
    low = (struct rlimit){.rlim_cur = MIB, .rlim_max = before.rlim_max};
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &low), 0);
    int r = guest_memory_save(&memory, fd, "some/file", NULL, &err);
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &before), 0);
    signal(SIGXFSZ, SIG_DFL);
    assert_int_equal(r, -EFBIG);
    assert_non_null(strstr(err.message, "some/file"));
    assert_non_null(strstr(err.message, "EFBIG"));
    /* A descriptor that can't be written is told as well. */
    _cleanup_(close) int other = open("/dev/full", O_RDWR | O_CLOEXEC);
    assert_true(guest_memory_save(&memory, other, "/dev/full", NULL, &err) < 0);
    assert_non_null(strstr(err.message, "/dev/full"));
    guest_memory_release(&memory);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_layout),
        cmocka_unit_test(test_layout_refuses),
        cmocka_unit_test(test_create),
        cmocka_unit_test(test_accessor_bounds),
        cmocka_unit_test(test_copy_is_all_or_nothing),
        cmocka_unit_test(test_map_is_private),
        cmocka_unit_test(test_populate),
        cmocka_unit_test(test_populate_own),
        cmocka_unit_test(test_touched),
        cmocka_unit_test(test_map_needs_only_reading),
        cmocka_unit_test(test_map_wrong_size),
        cmocka_unit_test(test_map_not_a_file),
        cmocka_unit_test(test_discard_file),
        cmocka_unit_test(test_discard_anonymous),
        cmocka_unit_test(test_save_round_trip),
        cmocka_unit_test(test_save_empty),
        cmocka_unit_test(test_save_skips_gap),
        cmocka_unit_test(test_save_error_names_file),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
