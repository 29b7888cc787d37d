/* SPDX-License-Identifier: Apache-2.0 */
/* The block device and what must not be done: requests of a guest that break its rules, host files
 * that fail, files that can't be drives. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <errno.h>
#include <fcntl.h>
#include <linux/virtio_blk.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "block_guest.h"
#include "virtio_guest.h"

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

int main(void)
{
    const struct CMUnitTest tests[] = {
        BLOCK_TEST(out_of_range),
        BLOCK_TEST(bad_ranges),
        BLOCK_TEST(unknown_types),
        BLOCK_TEST(features_that_were_not_accepted),
        BLOCK_TEST(read_only_drives),
        BLOCK_TEST(chains_too_short),
        BLOCK_TEST(requests_of_too_many_bytes),
        BLOCK_TEST(a_file_that_shrinks),
        BLOCK_TEST(a_file_that_refuses_writes),
        BLOCK_TEST(files_that_can_not_be_drives),
        BLOCK_TEST(a_file_with_other_owners_is_not_written),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
