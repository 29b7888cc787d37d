/* SPDX-License-Identifier: Apache-2.0 */
/* The block device: what it offers, and requests that work. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <errno.h>
#include <fcntl.h>
#include <linux/virtio_blk.h>
#include <linux/virtio_ids.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "block_guest.h"
#include "virtio_guest.h"

/* ---- features and configuration ---- */

static void features_follow_the_drive(void **state)
{
    struct fixture *f = *state;
    const uint64_t transport = 1ull << 32 | 1ull << 29;
    const uint64_t writable = FEATURE(VIRTIO_BLK_F_DISCARD) | FEATURE(VIRTIO_BLK_F_WRITE_ZEROES);

    plug(f);
    assert_int_equal(guest_get(&f->guest, VIRTIO_MMIO_DEVICE_ID), VIRTIO_ID_BLOCK);
    assert_int_equal(guest_offered_features(&f->guest), ALL_FEATURES | transport);
    virtio_mmio_destroy(f->guest.transport);
    f->drive.writeback = false;
    plug(f);
    assert_int_equal(guest_offered_features(&f->guest),
                     (ALL_FEATURES & ~FEATURE(VIRTIO_BLK_F_FLUSH)) | transport);
    virtio_mmio_destroy(f->guest.transport);
    f->drive.is_read_only = true;
    plug(f);
    assert_int_equal(guest_offered_features(&f->guest),
                     (ALL_FEATURES & ~FEATURE(VIRTIO_BLK_F_FLUSH) & ~writable) |
                         FEATURE(VIRTIO_BLK_F_RO) | transport);
}

static void read_config(struct fixture *f, struct virtio_blk_config *config)
{
    struct bus_device *bus = virtio_mmio_bus_device(f->guest.transport);

    for (uint64_t i = 0; i < sizeof(*config); i += 4)
        bus->read(bus, VIRTIO_MMIO_CONFIG + i, (uint8_t *)config + i, 4);
}

static void configuration(void **state)
{
    struct fixture *f = *state;
    struct virtio_blk_config config = {0};

    plug(f);
    read_config(f, &config);
    assert_int_equal(config.capacity, SECTORS);
    assert_int_equal(config.blk_size, 512);
    assert_int_equal(config.seg_max, 254);
    assert_true(config.size_max >= 4096);
    assert_int_equal(config.min_io_size, 1);
    assert_true(config.max_discard_sectors > 0 && config.max_discard_seg > 0);
    assert_true(config.max_write_zeroes_sectors > 0 && config.max_write_zeroes_seg > 0);
    assert_int_equal(config.discard_sector_alignment, 8);
    assert_int_equal(config.write_zeroes_may_unmap, 1);
    assert_int_equal(config.max_secure_erase_sectors, 0);
}

static void capacity_rounds_down(void **state)
{
    struct fixture *f = *state;
    struct virtio_blk_config config = {0};

    assert_int_equal(truncate(f->path, 3 * SECTOR + 511), 0);
    start(f);
    read_config(f, &config);
    assert_int_equal(config.capacity, 3);
    uint64_t data;
    assert_int_equal(read_sectors(f, 3, SECTOR, &data), VIRTIO_BLK_S_IOERR);
}

/* ---- requests that work ---- */

static void reads(void **state)
{
    struct fixture *f = *state;
    uint64_t data;

    start(f);
    assert_int_equal(read_sectors(f, 5, 4 * SECTOR, &data), VIRTIO_BLK_S_OK);
    assert_int_equal(f->used_length, 4 * SECTOR + 1);
    const uint8_t *bytes = guest_at(&f->guest, data, 4 * SECTOR);
    for (unsigned i = 0; i < 4 * SECTOR; i++)
        assert_int_equal(bytes[i], pattern(5 * SECTOR + i));
    assert_true(guest_interrupted(&f->guest));
    assert_int_equal(read_sectors(f, SECTORS - 1, SECTOR, &data), VIRTIO_BLK_S_OK);
    assert_int_equal(read_sectors(f, SECTORS, 0, &data), VIRTIO_BLK_S_OK); /* nothing at the end */
}

static void writes(void **state)
{
    struct fixture *f = *state;
    uint8_t expected[2 * SECTOR];

    start(f);
    memset(expected, 0x5a, sizeof(expected));
    assert_int_equal(write_sectors(f, 9, sizeof(expected), 0x5a), VIRTIO_BLK_S_OK);
    assert_int_equal(f->used_length, 1);
    expect_file(f, 9 * SECTOR, expected, sizeof(expected));
    expect_pattern(f, 8 * SECTOR, SECTOR);
    expect_pattern(f, 11 * SECTOR, SECTOR);
    assert_int_equal(write_sectors(f, SECTORS - 2, sizeof(expected), 0x5a), VIRTIO_BLK_S_OK);
    struct stat st;
    assert_int_equal(stat(f->path, &st), 0);
    assert_int_equal(st.st_size, SECTORS * SECTOR);
    assert_int_equal(request(f, VIRTIO_BLK_T_FLUSH, 0, 0, 0, false), VIRTIO_BLK_S_OK);
}

/* The driver may cut header, data and status as it likes (2.7.4): here the header in two, the data
 * in odd pieces, the status at the end of the last data buffer. */
static void any_layout(void **state)
{
    struct fixture *f = *state;
    struct guest *g = &f->guest;

    start(f);
    uint64_t header = put_header(g, VIRTIO_BLK_T_IN, 2);
    uint64_t data = guest_allocate(g, 2 * SECTOR + 1, 1);
    struct guest_buffer in[] = {{header, 3, false},
                                {header + 3, 13, false},
                                {data, 1, true},
                                {data + 1, 700, true},
                                {data + 701, 2 * SECTOR + 1 - 701, true}};
    submit(f, in, ARRAY_SIZE(in));
    assert_int_equal(f->used_length, 2 * SECTOR + 1);
    const uint8_t *bytes = guest_at(g, data, 2 * SECTOR + 1);
    for (unsigned i = 0; i < 2 * SECTOR; i++)
        assert_int_equal(bytes[i], pattern(2 * SECTOR + i));
    assert_int_equal(bytes[2 * SECTOR], VIRTIO_BLK_S_OK);

    /* Written: header and data in one buffer. */
    uint64_t all = guest_allocate(g, 16 + SECTOR, 16);
    struct virtio_blk_outhdr out_header = {.type = VIRTIO_BLK_T_OUT, .sector = 20};
    assert_int_equal(guest_write(&g->memory, all, &out_header, 16), 0);
    memset(guest_at(g, all + 16, SECTOR), 0x33, SECTOR);
    uint64_t status = guest_allocate(g, 4, 4);
    memset(guest_at(g, status, 4), NO_STATUS, 4);
    struct guest_buffer out[] = {
        {all, 16 + SECTOR, false}, {status, 1, true}, {status + 2, 1, true}};
    submit(f, out, ARRAY_SIZE(out));
    assert_memory_equal(guest_at(g, status, 4), "\xee\xee\x00\xee", 4); /* the very last byte */
    uint8_t expected[SECTOR];
    memset(expected, 0x33, sizeof(expected));
    expect_file(f, 20 * SECTOR, expected, SECTOR);
}

static void ids(void **state)
{
    struct fixture *f = *state;
    static const struct {
        const char *drive_id, *serial;
    } cases[] = {
        {"rootfs", "rootfs\0\0\0\0\0\0\0\0\0\0\0\0\0"},
        {"exactly_twenty_bytes", "exactly_twenty_bytes"},
    };
    char first[20];

    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        f->drive.drive_id = (char *)(uintptr_t)cases[i].drive_id;
        start(f);
        uint64_t data = guest_allocate(&f->guest, 24, 1);
        assert_int_equal(request(f, VIRTIO_BLK_T_GET_ID, 0, data, 20, true), VIRTIO_BLK_S_OK);
        assert_int_equal(f->used_length, 21);
        assert_memory_equal(guest_at(&f->guest, data, 20), cases[i].serial, 20);
        virtio_mmio_destroy(f->guest.transport);
    }
    /* Longer ids with a common beginning stay apart. */
    f->drive.drive_id = (char *)"customer_data_volume_one";
    start(f);
    uint64_t data = guest_allocate(&f->guest, 24, 1);
    assert_int_equal(request(f, VIRTIO_BLK_T_GET_ID, 0, data, 20, true), VIRTIO_BLK_S_OK);
    memcpy(first, guest_at(&f->guest, data, 20), 20);
    assert_memory_equal(first, "customer_da-", 12);
    virtio_mmio_destroy(f->guest.transport);
    f->drive.drive_id = (char *)"customer_data_volume_two";
    start(f);
    assert_int_equal(request(f, VIRTIO_BLK_T_GET_ID, 0, data, 20, true), VIRTIO_BLK_S_OK);
    assert_memory_not_equal(first, guest_at(&f->guest, data, 20), 20);
    assert_int_equal(request(f, VIRTIO_BLK_T_GET_ID, 0, data, 19, true), VIRTIO_BLK_S_IOERR);
    assert_int_equal(request(f, VIRTIO_BLK_T_GET_ID, 0, data, 0, true), VIRTIO_BLK_S_IOERR);
}

static void discards(void **state)
{
    struct fixture *f = *state;
    struct stat before, after;
    struct range two[] = {{16, 16, 0}, {40, 8, 0}};

    assert_int_equal(stat(f->path, &before), 0);
    start(f);
    assert_int_equal(send_range(f, VIRTIO_BLK_T_DISCARD, 0, 8, 0), VIRTIO_BLK_S_OK);
    assert_int_equal(send_ranges(f, VIRTIO_BLK_T_DISCARD, two, 2), VIRTIO_BLK_S_OK);
    assert_int_equal(stat(f->path, &after), 0);
    assert_int_equal(after.st_size, before.st_size);
    assert_true(after.st_blocks < before.st_blocks);
    expect_zeros(f, 0, 8 * SECTOR);
    expect_pattern(f, 8 * SECTOR, 8 * SECTOR);
    expect_zeros(f, 16 * SECTOR, 16 * SECTOR);
    expect_zeros(f, 40 * SECTOR, 8 * SECTOR);
    expect_pattern(f, 48 * SECTOR, 16 * SECTOR);
}

static void zeroing(void **state)
{
    struct fixture *f = *state;

    start(f);
    assert_int_equal(send_range(f, VIRTIO_BLK_T_WRITE_ZEROES, 3, 7, 0), VIRTIO_BLK_S_OK);
    assert_int_equal(
        send_range(f, VIRTIO_BLK_T_WRITE_ZEROES, 24, 8, VIRTIO_BLK_WRITE_ZEROES_FLAG_UNMAP),
        VIRTIO_BLK_S_OK);
    expect_pattern(f, 0, 3 * SECTOR);
    expect_zeros(f, 3 * SECTOR, 7 * SECTOR);
    expect_pattern(f, 10 * SECTOR, 14 * SECTOR);
    expect_zeros(f, 24 * SECTOR, 8 * SECTOR);
    expect_pattern(f, 32 * SECTOR, 32 * SECTOR);
}

/* tmpfs can't zero a range in place: the zeros are written. */
static void zeroing_without_file_system_support(void **state)
{
    struct fixture *f = *state;
    char path[64];
    _cleanup_(close) int fd = memfd_create("disk", MFD_CLOEXEC);
    _cleanup_(free) uint8_t *data = malloc(1u << 20);

    assert_true(fd >= 0);
    memset(data, 0x77, 1u << 20);
    assert_int_equal(write(fd, data, 1u << 20), 1u << 20);
    assert_true(fallocate(fd, FALLOC_FL_ZERO_RANGE | FALLOC_FL_KEEP_SIZE, 0, 4096) < 0);
    (void)snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
    f->drive.path_on_host = path;
    start(f);
    assert_int_equal(send_range(f, VIRTIO_BLK_T_WRITE_ZEROES, 1, 1201, 0), VIRTIO_BLK_S_OK);
    assert_int_equal(pread(fd, data, 1u << 20, 0), 1u << 20);
    for (unsigned i = 0; i < 1u << 20; i++)
        assert_int_equal(data[i], i >= SECTOR && i < 1202 * SECTOR ? 0 : 0x77);
}

static void reopening(void **state)
{
    struct fixture *f = *state;
    struct virtio_blk_config config = {0};
    struct error err = {0};
    char other[64], linked[64];
    uint64_t data;

    (void)snprintf(other, sizeof(other), "%s/other", f->directory);
    (void)snprintf(linked, sizeof(linked), "%s/linked", f->directory);
    make_file(other, 2 * SECTORS * SECTOR);
    start(f);
    struct virtio_device *device = virtio_mmio_device(f->guest.transport);

    assert_int_equal(virtio_block_reopen(device, linked, &err), -ENOENT);
    assert_int_equal(link(f->path, linked), 0);
    assert_int_equal(virtio_block_reopen(device, linked, &err), -EMLINK);
    assert_int_equal(unlink(linked), 0);
    assert_false(guest_interrupted(&f->guest));
    assert_int_equal(read_sectors(f, SECTORS - 1, SECTOR, &data), VIRTIO_BLK_S_OK);
    (void)guest_interrupted(&f->guest);

    assert_int_equal(virtio_block_reopen(device, other, &err), 0);
    assert_true(guest_interrupted(&f->guest));
    assert_int_equal(guest_get(&f->guest, VIRTIO_MMIO_CONFIG_GENERATION), 1);
    assert_int_equal(guest_get(&f->guest, VIRTIO_MMIO_INTERRUPT_STATUS) & VIRTIO_MMIO_INT_CONFIG,
                     VIRTIO_MMIO_INT_CONFIG);
    read_config(f, &config);
    assert_int_equal(config.capacity, 2 * SECTORS);
    assert_int_equal(read_sectors(f, 2 * SECTORS - 1, SECTOR, &data), VIRTIO_BLK_S_OK);
    assert_int_equal(unlink(other), 0);
}

/* A queue full of requests at once: all served, in order, with interrupts held to what is asked. */
static void a_full_queue(void **state)
{
    struct fixture *f = *state;
    struct guest *g = &f->guest;
    uint16_t head;
    uint32_t length;
    uint64_t status = guest_allocate(g, 64, 1);

    plug(f);
    guest_start(g, guest_offered_features(g), 256);
    uint64_t data = guest_allocate(g, SECTORS * SECTOR, 1);
    for (unsigned i = 0; i < SECTORS; i++) {
        struct guest_buffer buffers[] = {{put_header(g, VIRTIO_BLK_T_IN, i), 16, false},
                                         {data + i * SECTOR, SECTOR, true},
                                         {status + i, 1, true}};
        guest_add(g, 0, buffers, 3);
    }
    guest_notify(g, 0);
    for (unsigned i = 0; i < SECTORS; i++) {
        assert_true(guest_take_used(g, 0, &head, &length));
        assert_int_equal(head, 3 * i);
        assert_int_equal(length, SECTOR + 1);
    }
    assert_false(guest_take_used(g, 0, &head, &length));
    const uint8_t *bytes = guest_at(g, data, SECTORS * SECTOR);
    for (unsigned i = 0; i < SECTORS * SECTOR; i++)
        assert_int_equal(bytes[i], pattern(i));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        BLOCK_TEST(features_follow_the_drive),
        BLOCK_TEST(configuration),
        BLOCK_TEST(capacity_rounds_down),
        BLOCK_TEST(reads),
        BLOCK_TEST(writes),
        BLOCK_TEST(any_layout),
        BLOCK_TEST(ids),
        BLOCK_TEST(discards),
        BLOCK_TEST(zeroing),
        BLOCK_TEST(zeroing_without_file_system_support),
        BLOCK_TEST(reopening),
        BLOCK_TEST(a_full_queue),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
