/* SPDX-License-Identifier: Apache-2.0 */
#include "block_guest.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <fcntl.h>
#include <linux/virtio_blk.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "virtio_guest.h"

uint8_t pattern(uint64_t offset)
{
    return (uint8_t)(offset * 7 + offset / SECTOR);
}

void make_file(const char *path, uint64_t bytes)
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

int block_setup(void **state)
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

int block_teardown(void **state)
{
    struct fixture *f = *state;

    guest_destroy(&f->guest);
    (void)unlink(f->path);
    assert_int_equal(rmdir(f->directory), 0);
    return 0;
}

void plug(struct fixture *f)
{
    struct error err = {0};

    guest_plug(&f->guest, virtio_block_create(&f->drive, &f->guest.memory, f->guest.loop, &err));
}

void start(struct fixture *f)
{
    plug(f);
    guest_start(&f->guest, guest_offered_features(&f->guest), 64);
}

void expect_file(const struct fixture *f, uint64_t offset, const void *data, size_t length)
{
    _cleanup_(close) int fd = open(f->path, O_RDONLY | O_CLOEXEC);
    uint8_t found[SECTORS * SECTOR];

    assert_true(fd >= 0 && length <= sizeof(found));
    assert_int_equal(pread(fd, found, length, (off_t)offset), length);
    assert_memory_equal(found, data, length);
}

void expect_pattern(const struct fixture *f, uint64_t offset, size_t length)
{
    uint8_t data[SECTORS * SECTOR];

    for (size_t i = 0; i < length; i++)
        data[i] = pattern(offset + i);
    expect_file(f, offset, data, length);
}

void expect_zeros(const struct fixture *f, uint64_t offset, size_t length)
{
    static const uint8_t data[SECTORS * SECTOR];

    expect_file(f, offset, data, length);
}

uint64_t put_header(struct guest *g, uint32_t type, uint64_t sector)
{
    struct virtio_blk_outhdr header = {.type = type, .sector = sector};
    uint64_t gpa = guest_allocate(g, sizeof(header), 16);

    assert_int_equal(guest_write(&g->memory, gpa, &header, sizeof(header)), 0);
    return gpa;
}

void submit(struct fixture *f, const struct guest_buffer *buffers, unsigned count)
{
    uint16_t head;

    uint16_t added = guest_add(&f->guest, 0, buffers, count);
    guest_notify(&f->guest, 0);
    assert_true(guest_take_used(&f->guest, 0, &head, &f->used_length));
    assert_int_equal(head, added);
    assert_false(guest_take_used(&f->guest, 0, &head, &f->used_length));
}

uint8_t request(struct fixture *f, uint32_t type, uint64_t sector, uint64_t data, uint32_t length,
                bool writable)
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

uint8_t read_sectors(struct fixture *f, uint64_t sector, uint32_t bytes, uint64_t *data)
{
    *data = guest_allocate(&f->guest, bytes + 1, 1);
    return request(f, VIRTIO_BLK_T_IN, sector, *data, bytes, true);
}

uint8_t write_sectors(struct fixture *f, uint64_t sector, uint32_t bytes, uint8_t fill)
{
    uint64_t data = guest_allocate(&f->guest, bytes + 1, 1);

    memset(guest_at(&f->guest, data, bytes), fill, bytes);
    return request(f, VIRTIO_BLK_T_OUT, sector, data, bytes, false);
}

uint8_t send_ranges(struct fixture *f, uint32_t type, const struct range *ranges, unsigned count)
{
    uint32_t bytes = count * (uint32_t)sizeof(*ranges);
    uint64_t data = guest_allocate(&f->guest, bytes + 1, 1);

    assert_int_equal(guest_write(&f->guest.memory, data, ranges, bytes), 0);
    return request(f, type, 0, data, bytes, false);
}

uint8_t send_range(struct fixture *f, uint32_t type, uint64_t sector, uint32_t sectors,
                   uint32_t flags)
{
    struct range range = {sector, sectors, flags};

    return send_ranges(f, type, &range, 1);
}
