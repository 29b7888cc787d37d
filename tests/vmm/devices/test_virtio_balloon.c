/* SPDX-License-Identifier: Apache-2.0 */
/* The balloon over anonymous memory and over memory mapped from a file: what is discarded really
 * reads as zeros and really leaves the process, its neighbours stay as they were. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <errno.h>
#include <fcntl.h>
#include <linux/virtio_balloon.h>
#include <linux/virtio_ids.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "virtio_guest.h"

#define MEMORY_MIB 16ull
#define PAGES      (MEMORY_MIB * 256)
#define FIRST      1024ull /* page numbers used by the tests start here, behind the rings */
#define REPORTING  (1ull << VIRTIO_BALLOON_F_REPORTING)
#define ON_OOM     (1ull << VIRTIO_BALLOON_F_DEFLATE_ON_OOM)

struct fixture {
    struct guest guest;
    struct balloon_config config;
};

static int setup_anonymous(void **state)
{
    static struct fixture fixture;

    fixture.config = (struct balloon_config){
        .present = true, .deflate_on_oom = true, .free_page_reporting = true};
    guest_create(&fixture.guest, MEMORY_MIB);
    /* Pages of their own: one huge page would be released and counted as a whole. */
    (void)madvise(fixture.guest.memory.regions[0].host, MEMORY_MIB << 20, MADV_NOHUGEPAGE);
    for (uint64_t i = 0; i < PAGES; i++)
        memset(guest_at(&fixture.guest, i << 12, 4096), (int)(uint8_t)(i + 1), 4096);
    *state = &fixture;
    return 0;
}

static int setup_file(void **state)
{
    static struct fixture fixture;

    fixture.config = (struct balloon_config){
        .present = true, .deflate_on_oom = true, .free_page_reporting = true};
    guest_create_from_file(&fixture.guest, MEMORY_MIB);
    *state = &fixture;
    return 0;
}

static int teardown(void **state)
{
    guest_destroy(&((struct fixture *)*state)->guest);
    return 0;
}

static void plug(struct fixture *f)
{
    struct error err = {0};

    guest_plug(&f->guest, virtio_balloon_create(&f->config, &f->guest.memory, f->guest.loop, &err));
}

static void start(struct fixture *f)
{
    plug(f);
    guest_start(&f->guest, guest_offered_features(&f->guest), 64);
}

static bool page_present(const struct fixture *f, uint64_t page)
{
    _cleanup_(close) int fd = open("/proc/self/pagemap", O_RDONLY | O_CLOEXEC);
    uint64_t entry;
    uint64_t address = (uint64_t)(uintptr_t)guest_at(&f->guest, page << 12, 4096);

    assert_true(fd >= 0);
    assert_int_equal(pread(fd, &entry, sizeof(entry), (off_t)(address / 4096 * 8)), 8);
    return (entry >> 63 & 1) || (entry >> 62 & 1);
}

static void expect_page(const struct fixture *f, uint64_t page, uint8_t fill)
{
    const uint8_t *bytes = guest_at(&f->guest, page << 12, 4096);

    for (unsigned i = 0; i < 4096; i++) {
        if (bytes[i] != fill)
            fail_msg("page %llu byte %u: %u, not %u", (unsigned long long)page, i, bytes[i], fill);
    }
}

static void expect_kept(const struct fixture *f, uint64_t page)
{
    expect_page(f, page, (uint8_t)(page + 1));
}

/* Gone from the process first (looking at the content would bring a zero page in), then zero. */
static void expect_discarded(const struct fixture *f, uint64_t page)
{
    assert_false(page_present(f, page));
    expect_page(f, page, 0);
}

static void touch_all(const struct fixture *f)
{
    for (uint64_t page = FIRST; page < PAGES; page++) {
        volatile uint8_t *byte = guest_at(&f->guest, page << 12, 1);
        *byte = *byte; /* a private page even over a file */
    }
}

/* Sends page numbers to the inflate or deflate queue. */
static void send_pages(struct fixture *f, unsigned queue, const uint32_t *pages, uint32_t count)
{
    struct guest *g = &f->guest;
    uint64_t gpa = guest_allocate(g, count * 4ull, 4);
    struct guest_buffer buffer = {gpa, count * 4, false};

    assert_int_equal(guest_write(&g->memory, gpa, pages, count * 4ull), 0);
    guest_add(g, queue, &buffer, 1);
    guest_notify(g, queue);
}

static void expect_answered(struct fixture *f, unsigned queue)
{
    uint16_t head;
    uint32_t length;

    assert_true(guest_take_used(&f->guest, queue, &head, &length));
    assert_int_equal(length, 0);
    assert_true(guest_interrupted(&f->guest));
}

static void expect_broken(struct fixture *f, unsigned queue)
{
    uint16_t head;
    uint32_t length;

    assert_false(guest_take_used(&f->guest, queue, &head, &length));
    assert_int_equal(guest_get(&f->guest, VIRTIO_MMIO_STATUS), 15 | 0x40);
    assert_true(guest_interrupted(&f->guest));
}

/* ---- configuration ---- */

static void features_follow_the_configuration(void **state)
{
    struct fixture *f = *state;
    const uint64_t transport = 1ull << 32 | 1ull << 29;

    plug(f);
    assert_int_equal(guest_get(&f->guest, VIRTIO_MMIO_DEVICE_ID), VIRTIO_ID_BALLOON);
    assert_int_equal(guest_offered_features(&f->guest), transport | REPORTING | ON_OOM);
    virtio_mmio_destroy(f->guest.transport);
    f->config.deflate_on_oom = f->config.free_page_reporting = false;
    plug(f);
    assert_int_equal(guest_offered_features(&f->guest), transport);
}

static void target_and_actual(void **state)
{
    struct fixture *f = *state;
    struct error err = {0};
    struct bus_device *bus;

    f->config.amount_mib = 3;
    start(f);
    bus = virtio_mmio_bus_device(f->guest.transport);
    struct virtio_device *device = virtio_mmio_device(f->guest.transport);
    assert_int_equal(guest_get(&f->guest, 0x100), 3 * 256);
    assert_int_equal(guest_get(&f->guest, 0x104), 0);
    guest_set(&f->guest, 0x104, 2 * 256 + 255);
    assert_int_equal(guest_get(&f->guest, 0x104), 2 * 256 + 255);
    assert_int_equal(virtio_balloon_actual_mib(device), 2);
    guest_set(&f->guest, 0x100, 99); /* the target is not the driver's */
    guest_set(&f->guest, 0x108, 99);
    assert_int_equal(guest_get(&f->guest, 0x100), 3 * 256);
    assert_int_equal(guest_get(&f->guest, 0x108), 0);
    bus->write(bus, 0x106, (const uint8_t *)"\1\1\1\1\1\1\1\1", 8);
    assert_int_equal(guest_get(&f->guest, 0x104), 0x01010000 + 2 * 256 + 255);

    assert_int_equal(virtio_balloon_set_target(device, 5, &err), 0);
    assert_true(guest_interrupted(&f->guest));
    assert_int_equal(guest_get(&f->guest, VIRTIO_MMIO_INTERRUPT_STATUS), VIRTIO_MMIO_INT_CONFIG);
    assert_int_equal(guest_get(&f->guest, VIRTIO_MMIO_CONFIG_GENERATION), 1);
    assert_int_equal(guest_get(&f->guest, 0x100), 5 * 256);
    assert_int_equal(virtio_balloon_set_target(device, MEMORY_MIB, &err), 0);
    assert_int_equal(virtio_balloon_set_target(device, MEMORY_MIB + 1, &err), -EINVAL);
    assert_int_equal(virtio_balloon_set_target(device, UINT32_MAX, &err), -EINVAL);
    assert_int_equal(guest_get(&f->guest, 0x100), MEMORY_MIB * 256);

    guest_set(&f->guest, VIRTIO_MMIO_STATUS, 0);
    assert_int_equal(virtio_balloon_actual_mib(device), 0);
    assert_int_equal(guest_get(&f->guest, 0x100), MEMORY_MIB * 256); /* the host's wish stays */
}

static void a_balloon_larger_than_memory(void **state)
{
    struct fixture *f = *state;
    struct error err = {0};

    f->config.amount_mib = MEMORY_MIB + 1;
    assert_null(virtio_balloon_create(&f->config, &f->guest.memory, f->guest.loop, &err));
    assert_int_equal(err.errnum, EINVAL);
    f->config.amount_mib = 0;
    plug(f); /* so that the teardown has something to take down */
}

/* ---- inflate and deflate ---- */

static void inflate_gives_pages_back(void **state)
{
    struct fixture *f = *state;
    /* Out of order, with a run, a duplicate, a gap of one page, and single ones. */
    static const uint32_t pages[] = {1305, 1302, 1300, 1301, 1303, 1302, 4095, 1700};

    start(f);
    touch_all(f);
    send_pages(f, 0, pages, ARRAY_SIZE(pages));
    expect_answered(f, 0);
    for (size_t i = 0; i < ARRAY_SIZE(pages); i++) {
        if (i != 5) /* the duplicate was looked at */
            expect_discarded(f, pages[i]);
    }
    static const uint64_t neighbours[] = {1299, 1304, 1306, 1699, 1701, 4094};
    for (size_t i = 0; i < ARRAY_SIZE(neighbours); i++) {
        assert_true(page_present(f, neighbours[i]));
        expect_kept(f, neighbours[i]);
    }

    /* The guest takes them back and uses them again. */
    send_pages(f, 1, pages, ARRAY_SIZE(pages));
    expect_answered(f, 1);
    memset(guest_at(&f->guest, 1300ull << 12, 4096), 0x42, 4096);
    expect_page(f, 1300, 0x42);
    expect_page(f, 1301, 0);
}

static void inflate_many_at_once(void **state)
{
    struct fixture *f = *state;
    uint32_t pages[1024];

    for (uint32_t i = 0; i < 1024; i++)
        pages[i] = 2048 + 1023 - i;
    start(f);
    touch_all(f);
    send_pages(f, 0, pages, 1024);
    expect_answered(f, 0);
    for (uint32_t i = 0; i < 1024; i++)
        expect_discarded(f, pages[i]);
    expect_kept(f, 2047);
    expect_kept(f, 3072);
}

static void inflate_outside_memory(void **state)
{
    struct fixture *f = *state;
    static const uint32_t bad[] = {PAGES, 0xC0000, 0x100000, UINT32_MAX};

    plug(f);
    for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
        guest_start(&f->guest, 0, 64);
        send_pages(f, 0, &bad[i], 1);
        expect_broken(f, 0);
    }
    /* A run that begins inside and ends outside. */
    static const uint32_t run[] = {PAGES - 1, PAGES};
    guest_start(&f->guest, 0, 64);
    send_pages(f, 0, run, 2);
    expect_broken(f, 0);
    expect_kept(f, PAGES - 1);
}

static void inflate_arrays_of_bad_length(void **state)
{
    struct fixture *f = *state;
    static const uint32_t lengths[] = {1, 3, 5, 4 * 4096 + 4, 1u << 20};

    plug(f);
    for (size_t i = 0; i < ARRAY_SIZE(lengths); i++) {
        struct guest_buffer buffer = {0x1000, lengths[i], false};
        guest_start(&f->guest, 0, 64);
        guest_add(&f->guest, 0, &buffer, 1);
        guest_notify(&f->guest, 0);
        expect_broken(f, 0);
    }
    /* Nothing to read at all is nothing to do. */
    struct guest_buffer writable = {0x1000, 4096, true};
    guest_start(&f->guest, 0, 64);
    guest_add(&f->guest, 0, &writable, 1);
    guest_notify(&f->guest, 0);
    expect_answered(f, 0);
    expect_kept(f, 1);
}

/* ---- free page reporting ---- */

static void report(struct fixture *f, unsigned queue, const struct guest_buffer *ranges,
                   unsigned count)
{
    guest_add(&f->guest, queue, ranges, count);
    guest_notify(&f->guest, queue);
}

/* Linux numbers the queue 2, the specification 4: see balloon.c. */
static void reported_pages_are_given_back(void **state)
{
    struct fixture *f = *state;
    static const unsigned queues[] = {2, 3, 4};

    start(f);
    touch_all(f);
    for (size_t i = 0; i < ARRAY_SIZE(queues); i++) {
        uint64_t base = 1200 + 500 * i;
        struct guest_buffer ranges[] = {{base << 12, 16 << 12, true},
                                        {(base + 100) << 12, 4 << 12, true}};
        report(f, queues[i], ranges, 2);
        expect_answered(f, queues[i]);
        for (uint64_t page = base; page < base + 16; page++)
            expect_discarded(f, page);
        for (uint64_t page = base + 100; page < base + 104; page++)
            expect_discarded(f, page);
        expect_kept(f, base - 1);
        expect_kept(f, base + 16);
        expect_kept(f, base + 99);
        expect_kept(f, base + 104);
    }
}

static void parts_of_pages_are_not_free(void **state)
{
    struct fixture *f = *state;
    struct guest_buffer ranges[] = {{(1200ull << 12) + 1, (3 << 12) - 2, true},
                                    {(1300ull << 12) + 100, 200, true},
                                    {(1400ull << 12) + 4095, 2, true}};

    start(f);
    touch_all(f);
    report(f, 2, ranges, 3);
    expect_answered(f, 2);
    expect_kept(f, 1200);
    expect_discarded(f, 1201);
    static const uint64_t kept[] = {1202, 1300, 1400, 1401};
    for (size_t i = 0; i < ARRAY_SIZE(kept); i++)
        expect_kept(f, kept[i]);
}

static void reports_outside_memory(void **state)
{
    struct fixture *f = *state;
    static const struct guest_buffer bad[] = {
        {(uint64_t)PAGES << 12, 4096, true},
        {(PAGES - 1ull) << 12, 8192, true},
        {0xC0000000, 1 << 21, true},
        {UINT64_MAX - 4095, 8192, true},
    };

    plug(f);
    for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
        guest_start(&f->guest, REPORTING, 64);
        report(f, 2, &bad[i], 1);
        expect_broken(f, 2);
    }
    expect_kept(f, PAGES - 1);
}

static void reports_without_the_feature(void **state)
{
    struct fixture *f = *state;
    struct guest_buffer range = {1200ull << 12, 16 << 12, true};
    uint16_t head;
    uint32_t length;

    plug(f);
    guest_start(&f->guest, ON_OOM, 64);
    report(f, 2, &range, 1);
    assert_false(guest_take_used(&f->guest, 2, &head, &length));
    expect_kept(f, 1200);
    assert_int_equal(guest_get(&f->guest, VIRTIO_MMIO_STATUS), 15);
}

/* The linker puts this in front of guest_memory_discard(), so that the host can be out of mappings.
 */
static int discard_error;

int __real_guest_memory_discard(struct guest_memory *memory, uint64_t gpa, uint64_t length);
int __wrap_guest_memory_discard(struct guest_memory *memory, uint64_t gpa, uint64_t length);

int __wrap_guest_memory_discard(struct guest_memory *memory, uint64_t gpa, uint64_t length)
{
    return discard_error ? discard_error : __real_guest_memory_discard(memory, gpa, length);
}

/* The guest loses nothing when the host can't take a page back, and the device goes on. */
static void a_host_without_mappings_left(void **state)
{
    struct fixture *f = *state;
    struct guest_buffer range = {1400ull << 12, 16 << 12, true};
    static const uint32_t page = 1300;

    start(f);
    discard_error = -ENOMEM;
    send_pages(f, 0, &page, 1);
    expect_answered(f, 0);
    report(f, 2, &range, 1);
    expect_answered(f, 2);
    expect_kept(f, 1300);
    expect_kept(f, 1400);
    discard_error = 0;
    send_pages(f, 0, &page, 1);
    expect_answered(f, 0);
    expect_discarded(f, 1300);
    assert_int_equal(guest_get(&f->guest, VIRTIO_MMIO_STATUS), 15);
}

static unsigned count_mappings(void)
{
    FILE *maps = fopen("/proc/self/maps", "re");
    unsigned count = 0;
    int c;

    assert_non_null(maps);
    while ((c = fgetc(maps)) != EOF)
        count += c == '\n';
    assert_int_equal(fclose(maps), 0);
    return count;
}

/* A guest that reports every second page of file-backed memory, for ever, does not use up the
 * mappings of the process. */
static void scattered_pages_do_not_exhaust_mappings(void **state)
{
    struct fixture *f = *state;
    struct guest_buffer ranges[32];

    start(f);
    for (unsigned round = 0; round < 700; round++) {
        for (unsigned i = 0; i < 32; i++) {
            uint64_t page = FIRST + (round * 64 + 2 * i) % (PAGES - FIRST);
            ranges[i] = (struct guest_buffer){page << 12, 4096, true};
        }
        uint16_t head;
        uint32_t length;
        report(f, 2, ranges, 32);
        assert_true(guest_take_used(&f->guest, 2, &head, &length));
    }
    assert_true(count_mappings() < 50000);
    assert_int_equal(guest_get(&f->guest, VIRTIO_MMIO_STATUS), 15);
    /* 700 * 32 short runs are more than the bound: the next one is left to the guest ... */
    memset(guest_at(&f->guest, (uint64_t)FIRST << 12, 4096), 0x42, 4096);
    struct guest_buffer one = {(uint64_t)FIRST << 12, 4096, true};
    report(f, 2, &one, 1);
    expect_page(f, FIRST, 0x42);
    /* ... a huge page is not. */
    memset(guest_at(&f->guest, 2048ull << 12, 2u << 20), 0x42, 2u << 20);
    struct guest_buffer huge = {2048ull << 12, 2u << 20, true};
    report(f, 2, &huge, 1);
    expect_discarded(f, 2048);
    expect_discarded(f, 2559);
}

/* clang-format off */ /* its versions differ on braces in macros */
#define BOTH(name)                                                 \
    {#name " (anonymous)", name, setup_anonymous, teardown, NULL}, \
    {#name " (file)", name, setup_file, teardown, NULL}
/* clang-format on */

int main(void)
{
    const struct CMUnitTest tests[] = {
        BOTH(features_follow_the_configuration),
        BOTH(target_and_actual),
        BOTH(a_balloon_larger_than_memory),
        BOTH(inflate_gives_pages_back),
        BOTH(inflate_many_at_once),
        BOTH(inflate_outside_memory),
        BOTH(inflate_arrays_of_bad_length),
        BOTH(reported_pages_are_given_back),
        BOTH(parts_of_pages_are_not_free),
        BOTH(reports_outside_memory),
        BOTH(reports_without_the_feature),
        BOTH(a_host_without_mappings_left),
        cmocka_unit_test_setup_teardown(scattered_pages_do_not_exhaust_mappings, setup_file,
                                        teardown),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
