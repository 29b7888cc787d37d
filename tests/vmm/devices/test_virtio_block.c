/* SPDX-License-Identifier: Apache-2.0 */
/* The block device on real files: every kind of request, and every way to get one wrong. */
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
#include "virtio_guest.h"

#define SECTORS      64ull
#define SECTOR       512ull
#define FEATURE(bit) (1ull << (bit))
#define ALL_FEATURES                                                   \
    (FEATURE(VIRTIO_BLK_F_SIZE_MAX) | FEATURE(VIRTIO_BLK_F_SEG_MAX) |  \
     FEATURE(VIRTIO_BLK_F_BLK_SIZE) | FEATURE(VIRTIO_BLK_F_TOPOLOGY) | \
     FEATURE(VIRTIO_BLK_F_FLUSH) | FEATURE(VIRTIO_BLK_F_DISCARD) |     \
     FEATURE(VIRTIO_BLK_F_WRITE_ZEROES))
#define NO_STATUS 0xee /* what the status byte holds before the request */

struct fixture {
    struct guest guest;
    char directory[32];
    char path[64];
    struct drive_config drive;
    uint32_t used_length;
};

static uint8_t pattern(uint64_t offset)
{
    return (uint8_t)(offset * 7 + offset / SECTOR);
}

static void make_file(const char *path, uint64_t bytes)
{
    _cleanup_(close) int fd = open(path, O_CREAT | O_EXCL | O_WRONLY | O_CLOEXEC, 0600);
    uint8_t sector[SECTOR];

    assert_true(fd >= 0);
    for (uint64_t at = 0; at < bytes; at += SECTOR) {
        for (unsigned i = 0; i < SECTOR; i++)
            sector[i] = pattern(at + i);
        size_t length = bytes - at < SECTOR ? bytes - at : SECTOR;
        assert_int_equal(write(fd, sector, length), length);
    }
}

static int setup(void **state)
{
    static struct fixture fixture;

    fixture = (struct fixture){.directory = "/tmp/tine-block-XXXXXX"};
    assert_non_null(mkdtemp(fixture.directory));
    (void)snprintf(fixture.path, sizeof(fixture.path), "%s/disk", fixture.directory);
    make_file(fixture.path, SECTORS * SECTOR);
    fixture.drive = (struct drive_config){
        .drive_id = (char *)"rootfs", .path_on_host = fixture.path, .writeback = true};
    guest_create(&fixture.guest, 8);
    *state = &fixture;
    return 0;
}

static int teardown(void **state)
{
    struct fixture *f = *state;

    guest_destroy(&f->guest);
    (void)unlink(f->path);
    assert_int_equal(rmdir(f->directory), 0);
    return 0;
}

static void plug(struct fixture *f)
{
    struct error err = {0};

    guest_plug(&f->guest, virtio_block_create(&f->drive, &f->guest.memory, f->guest.loop, &err));
}

static void start(struct fixture *f)
{
    plug(f);
    guest_start(&f->guest, guest_offered_features(&f->guest), 64);
}

static void expect_file(const struct fixture *f, uint64_t offset, const void *data, size_t length)
{
    _cleanup_(close) int fd = open(f->path, O_RDONLY | O_CLOEXEC);
    uint8_t found[SECTORS * SECTOR];

    assert_true(fd >= 0 && length <= sizeof(found));
    assert_int_equal(pread(fd, found, length, (off_t)offset), length);
    assert_memory_equal(found, data, length);
}

/* The file still holds the pattern in that range. */
static void expect_pattern(const struct fixture *f, uint64_t offset, size_t length)
{
    uint8_t data[SECTORS * SECTOR];

    for (size_t i = 0; i < length; i++)
        data[i] = pattern(offset + i);
    expect_file(f, offset, data, length);
}

static void expect_zeros(const struct fixture *f, uint64_t offset, size_t length)
{
    static const uint8_t data[SECTORS * SECTOR];

    expect_file(f, offset, data, length);
}

static uint64_t put_header(struct guest *g, uint32_t type, uint64_t sector)
{
    struct virtio_blk_outhdr header = {.type = type, .sector = sector};
    uint64_t gpa = guest_allocate(g, sizeof(header), 16);

    assert_int_equal(guest_write(&g->memory, gpa, &header, sizeof(header)), 0);
    return gpa;
}

/* Hands a chain over, waits for its return, leaves the used length in the fixture. */
static void submit(struct fixture *f, const struct guest_buffer *buffers, unsigned count)
{
    uint16_t head;

    uint16_t added = guest_add(&f->guest, 0, buffers, count);
    guest_notify(&f->guest, 0);
    assert_true(guest_take_used(&f->guest, 0, &head, &f->used_length));
    assert_int_equal(head, added);
    assert_false(guest_take_used(&f->guest, 0, &head, &f->used_length));
}

/* A request of the usual form: header, one data buffer (or none), status. Returns the status. */
static uint8_t request(struct fixture *f, uint32_t type, uint64_t sector, uint64_t data,
                       uint32_t length, bool writable)
{
    struct guest *g = &f->guest;
    struct guest_buffer buffers[3] = {{put_header(g, type, sector), 16, false}};
    unsigned count = 1;

    if (length > 0)
        buffers[count++] = (struct guest_buffer){data, length, writable};
    uint64_t status = guest_allocate(g, 1, 1);
    *(uint8_t *)guest_at(g, status, 1) = NO_STATUS;
    buffers[count++] = (struct guest_buffer){status, 1, true};
    submit(f, buffers, count);
    return *(uint8_t *)guest_at(g, status, 1);
}

static uint8_t read_sectors(struct fixture *f, uint64_t sector, uint32_t bytes, uint64_t *data)
{
    *data = guest_allocate(&f->guest, bytes + 1, 1);
    return request(f, VIRTIO_BLK_T_IN, sector, *data, bytes, true);
}

static uint8_t write_sectors(struct fixture *f, uint64_t sector, uint32_t bytes, uint8_t fill)
{
    uint64_t data = guest_allocate(&f->guest, bytes + 1, 1);

    memset(guest_at(&f->guest, data, bytes), fill, bytes);
    return request(f, VIRTIO_BLK_T_OUT, sector, data, bytes, false);
}

struct range {
    uint64_t sector;
    uint32_t sectors, flags;
};

static uint8_t send_ranges(struct fixture *f, uint32_t type, const struct range *ranges,
                           unsigned count)
{
    uint32_t bytes = count * (uint32_t)sizeof(*ranges);
    uint64_t data = guest_allocate(&f->guest, bytes + 1, 1);

    assert_int_equal(guest_write(&f->guest.memory, data, ranges, bytes), 0);
    return request(f, type, 0, data, bytes, false);
}

static uint8_t send_range(struct fixture *f, uint32_t type, uint64_t sector, uint32_t sectors,
                          uint32_t flags)
{
    struct range range = {sector, sectors, flags};

    return send_ranges(f, type, &range, 1);
}

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

/* ---- requests that are refused ---- */

static void out_of_range(void **state)
{
    struct fixture *f = *state;
    uint64_t data;

    start(f);
    static const struct {
        uint64_t sector;
        uint32_t bytes;
    } bad[] = {{SECTORS, SECTOR},        {SECTORS - 1, 2 * SECTOR}, {UINT64_MAX, SECTOR},
               {UINT64_MAX / 512, 1024}, {1ull << 55, SECTOR},      {1ull << 63, SECTOR},
               {0, SECTOR - 1},          {0, SECTOR + 1},           {0, 1},
               {0, 65 * SECTOR}};
    for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
        assert_int_equal(read_sectors(f, bad[i].sector, bad[i].bytes, &data), VIRTIO_BLK_S_IOERR);
        assert_int_equal(f->used_length, 0);
        assert_int_equal(write_sectors(f, bad[i].sector, bad[i].bytes, 1), VIRTIO_BLK_S_IOERR);
    }
    expect_pattern(f, 0, SECTORS * SECTOR);
    struct stat st;
    assert_int_equal(stat(f->path, &st), 0);
    assert_int_equal(st.st_size, SECTORS * SECTOR);
}

static void bad_ranges(void **state)
{
    struct fixture *f = *state;
    static const uint32_t types[] = {VIRTIO_BLK_T_DISCARD, VIRTIO_BLK_T_WRITE_ZEROES};

    start(f);
    for (size_t i = 0; i < ARRAY_SIZE(types); i++) {
        assert_int_equal(send_range(f, types[i], SECTORS, 1, 0), VIRTIO_BLK_S_IOERR);
        assert_int_equal(send_range(f, types[i], 0, SECTORS + 1, 0), VIRTIO_BLK_S_IOERR);
        assert_int_equal(send_range(f, types[i], UINT64_MAX, 8, 0), VIRTIO_BLK_S_IOERR);
        assert_int_equal(send_range(f, types[i], 0, UINT32_MAX, 0), VIRTIO_BLK_S_IOERR);
        assert_int_equal(send_range(f, types[i], 0, 8, 2), VIRTIO_BLK_S_UNSUPP);
        assert_int_equal(send_range(f, types[i], 0, 8, 0x80000001), VIRTIO_BLK_S_UNSUPP);
        assert_int_equal(send_range(f, types[i], 0, 0, 0), VIRTIO_BLK_S_OK);
        uint64_t data = guest_allocate(&f->guest, 64, 1);
        memset(guest_at(&f->guest, data, 64), 0, 64);
        assert_int_equal(request(f, types[i], 0, data, 15, false), VIRTIO_BLK_S_IOERR);
        assert_int_equal(request(f, types[i], 0, data, 17, false), VIRTIO_BLK_S_IOERR);
        assert_int_equal(request(f, types[i], 0, 0, 0, false), VIRTIO_BLK_S_IOERR);
        struct range many[17] = {{0, 8, 0}};
        assert_int_equal(send_ranges(f, types[i], many, 17), VIRTIO_BLK_S_IOERR);
    }
    /* 5.2.6.2: unmap has no meaning for a discard. */
    assert_int_equal(send_range(f, VIRTIO_BLK_T_DISCARD, 0, 8, 1), VIRTIO_BLK_S_UNSUPP);
    expect_pattern(f, 0, SECTORS * SECTOR);
}

static void unknown_types(void **state)
{
    struct fixture *f = *state;
    static const uint32_t types[] = {2, 3, 5, 14, 100, 0x80000000, UINT32_MAX};

    start(f);
    for (size_t i = 0; i < ARRAY_SIZE(types); i++)
        assert_int_equal(request(f, types[i], 0, 0, 0, false), VIRTIO_BLK_S_UNSUPP);
}

static void features_that_were_not_accepted(void **state)
{
    struct fixture *f = *state;

    plug(f);
    guest_start(&f->guest, 0, 64);
    assert_int_equal(request(f, VIRTIO_BLK_T_FLUSH, 0, 0, 0, false), VIRTIO_BLK_S_UNSUPP);
    assert_int_equal(send_range(f, VIRTIO_BLK_T_DISCARD, 0, 8, 0), VIRTIO_BLK_S_UNSUPP);
    assert_int_equal(send_range(f, VIRTIO_BLK_T_WRITE_ZEROES, 0, 8, 0), VIRTIO_BLK_S_UNSUPP);
    assert_int_equal(write_sectors(f, 0, SECTOR, 1), VIRTIO_BLK_S_OK);
}

static void read_only_drives(void **state)
{
    struct fixture *f = *state;
    uint64_t data;

    f->drive.is_read_only = true;
    assert_int_equal(chmod(f->path, 0400), 0);
    start(f);
    assert_int_equal(read_sectors(f, 0, SECTOR, &data), VIRTIO_BLK_S_OK);
    assert_int_equal(write_sectors(f, 0, SECTOR, 1), VIRTIO_BLK_S_IOERR);
    assert_int_equal(send_range(f, VIRTIO_BLK_T_DISCARD, 0, 8, 0), VIRTIO_BLK_S_UNSUPP);
    assert_int_equal(send_range(f, VIRTIO_BLK_T_WRITE_ZEROES, 0, 8, 0), VIRTIO_BLK_S_UNSUPP);
    expect_pattern(f, 0, SECTORS * SECTOR);
}

static void expect_reset_wanted(struct fixture *f, const struct guest_buffer *buffers,
                                unsigned count)
{
    uint16_t head;

    start(f);
    guest_add(&f->guest, 0, buffers, count);
    guest_notify(&f->guest, 0);
    assert_false(guest_take_used(&f->guest, 0, &head, &f->used_length));
    assert_int_equal(guest_get(&f->guest, VIRTIO_MMIO_STATUS), 15 | 0x40);
    assert_true(guest_interrupted(&f->guest));
    virtio_mmio_destroy(f->guest.transport);
    f->guest.transport = NULL;
}

/* Chains in which there is no request, or no place for its status. */
static void chains_too_short(void **state)
{
    struct fixture *f = *state;
    const struct guest_buffer no_status[] = {{0x1000, 16, false}};
    const struct guest_buffer no_status_with_data[] = {{0x1000, 16, false}, {0x2000, 512, false}};
    const struct guest_buffer short_header[] = {{0x1000, 15, false}, {0x2000, 1, true}};
    const struct guest_buffer no_header[] = {{0x2000, 513, true}};

    expect_reset_wanted(f, no_status, 1);
    expect_reset_wanted(f, no_status_with_data, 2);
    expect_reset_wanted(f, short_header, 2);
    expect_reset_wanted(f, no_header, 1);
}

/* Data of tens of MiB in one request, built of the same page again and again. */
static void requests_of_too_many_bytes(void **state)
{
    struct fixture *f = *state;
    struct guest *g = &f->guest;
    struct guest_buffer buffers[62];

    assert_int_equal(truncate(f->path, 1 << 30), 0);
    start(f);
    uint64_t status = guest_allocate(g, 1, 1);
    buffers[0] = (struct guest_buffer){put_header(g, VIRTIO_BLK_T_OUT, 0), 16, false};
    for (unsigned i = 1; i < 61; i++)
        buffers[i] = (struct guest_buffer){0, 4u << 20, false};
    buffers[61] = (struct guest_buffer){status, 1, true};
    submit(f, buffers, 62);
    assert_int_equal(*(uint8_t *)guest_at(g, status, 1), VIRTIO_BLK_S_IOERR);
    expect_pattern(f, 0, SECTORS * SECTOR);
}

/* ---- errors of the host ---- */

static void a_file_that_shrinks(void **state)
{
    struct fixture *f = *state;
    uint64_t data;

    start(f);
    assert_int_equal(truncate(f->path, SECTOR + 100), 0);
    assert_int_equal(read_sectors(f, 0, 4 * SECTOR, &data), VIRTIO_BLK_S_IOERR);
    assert_int_equal(f->used_length, SECTOR + 100); /* no byte is promised that wasn't written */
    assert_int_equal(read_sectors(f, 10, SECTOR, &data), VIRTIO_BLK_S_IOERR);
    assert_int_equal(read_sectors(f, 0, SECTOR, &data), VIRTIO_BLK_S_OK);
    assert_true(virtio_device_active(virtio_mmio_device(f->guest.transport)));
}

static void a_file_that_refuses_writes(void **state)
{
    struct fixture *f = *state;
    char path[64];
    _cleanup_(close) int fd = memfd_create("disk", MFD_CLOEXEC | MFD_ALLOW_SEALING);
    uint64_t data;

    assert_true(fd >= 0);
    assert_int_equal(ftruncate(fd, SECTORS * SECTOR), 0);
    (void)snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
    f->drive.path_on_host = path;
    start(f);
    assert_int_equal(fcntl(fd, F_ADD_SEALS, F_SEAL_WRITE), 0);
    assert_int_equal(write_sectors(f, 0, SECTOR, 1), VIRTIO_BLK_S_IOERR);
    assert_int_equal(send_range(f, VIRTIO_BLK_T_DISCARD, 0, 8, 0), VIRTIO_BLK_S_IOERR);
    assert_int_equal(send_range(f, VIRTIO_BLK_T_WRITE_ZEROES, 0, 8, 0), VIRTIO_BLK_S_IOERR);
    assert_int_equal(read_sectors(f, 0, SECTOR, &data), VIRTIO_BLK_S_OK);
}

/* ---- opening ---- */

static void expect_refused(struct fixture *f, int errnum, const char *words)
{
    struct error err = {0};

    assert_null(virtio_block_create(&f->drive, &f->guest.memory, f->guest.loop, &err));
    assert_int_equal(err.errnum, errnum);
    if (!strstr(err.message, words) || !strstr(err.message, "rootfs"))
        fail_msg("message: %s", err.message);
}

static void files_that_can_not_be_drives(void **state)
{
    struct fixture *f = *state;
    char fifo[64];

    (void)snprintf(fifo, sizeof(fifo), "%s/fifo", f->directory);
    assert_int_equal(mkfifo(fifo, 0600), 0);
    f->drive.path_on_host = fifo;
    expect_refused(f, EINVAL, "neither a regular file nor a block device");
    f->drive.is_read_only = true;
    expect_refused(f, EINVAL, fifo);
    assert_int_equal(unlink(fifo), 0);
    expect_refused(f, ENOENT, fifo);
    f->drive.path_on_host = f->directory;
    expect_refused(f, EINVAL, f->directory);
    f->drive.path_on_host = (char *)"/dev/null";
    expect_refused(f, EINVAL, "/dev/null");
}

static void a_file_with_other_owners_is_not_written(void **state)
{
    struct fixture *f = *state;
    char other[64];
    uint64_t data;

    (void)snprintf(other, sizeof(other), "%s/other", f->directory);
    assert_int_equal(link(f->path, other), 0);
    expect_refused(f, EMLINK, "2 links");
    f->drive.is_read_only = true; /* reading is no harm */
    start(f);
    assert_int_equal(read_sectors(f, 0, SECTOR, &data), VIRTIO_BLK_S_OK);
    assert_int_equal(unlink(other), 0);
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

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(features_follow_the_drive),
        TEST(configuration),
        TEST(capacity_rounds_down),
        TEST(reads),
        TEST(writes),
        TEST(any_layout),
        TEST(ids),
        TEST(discards),
        TEST(zeroing),
        TEST(zeroing_without_file_system_support),
        TEST(out_of_range),
        TEST(bad_ranges),
        TEST(unknown_types),
        TEST(features_that_were_not_accepted),
        TEST(read_only_drives),
        TEST(chains_too_short),
        TEST(requests_of_too_many_bytes),
        TEST(a_file_that_shrinks),
        TEST(a_file_that_refuses_writes),
        TEST(files_that_can_not_be_drives),
        TEST(a_file_with_other_owners_is_not_written),
        TEST(reopening),
        TEST(a_full_queue),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
