/* SPDX-License-Identifier: Apache-2.0 */
#include "state_guest.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <linux/virtio_blk.h>
#include <linux/virtio_config.h>
#include <stdlib.h>
#include <unistd.h>

#include "virtio_guest.h"

int state_setup(void **state)
{
    static struct fixture fixture;

    fixture = (struct fixture){.path = "/tmp/tine-state-XXXXXX"};
    int fd = mkstemp(fixture.path);
    assert_true(fd >= 0);
    assert_int_equal(ftruncate(fd, SECTORS * 512), 0);
    close(fd);
    fixture.drive = (struct drive_config){
        .drive_id = (char *)"rootfs", .path_on_host = fixture.path, .writeback = true};
    fixture.balloon = (struct balloon_config){.present = true, .free_page_reporting = true};
    guest_create(&fixture.guest, 8);
    *state = &fixture;
    return 0;
}

int state_teardown(void **state)
{
    struct fixture *f = *state;

    guest_destroy(&f->guest);
    return unlink(f->path);
}

struct virtio_device *make_block(struct fixture *f)
{
    struct error err = {0};

    return virtio_block_create(&f->drive, &f->guest.memory, f->guest.loop, &err);
}

struct virtio_device *make_balloon(struct fixture *f)
{
    struct error err = {0};

    return virtio_balloon_create(&f->balloon, &f->guest.memory, f->guest.loop, &err);
}

struct virtio_device *make_rng(struct fixture *f)
{
    struct error err = {0};

    return virtio_rng_create(&f->guest.memory, f->guest.loop, &err);
}

void save(struct virtio_mmio *transport, struct state_writer *writer)
{
    struct error err = {0};

    state_writer_init(writer);
    assert_int_equal(virtio_mmio_save(transport, writer, &err), 0);
    assert_int_equal(state_writer_finish(writer, &err), 0);
}

int load(struct virtio_mmio *transport, const struct state_writer *writer, struct error *err)
{
    struct state_reader reader;

    assert_int_equal(state_reader_open(&reader, writer->data, writer->length, err), 0);
    return virtio_mmio_load(transport, &reader, err);
}

void add_read(struct fixture *f, uint64_t sector, uint64_t *status)
{
    struct guest *g = &f->guest;
    struct virtio_blk_outhdr header = {.type = VIRTIO_BLK_T_IN, .sector = sector};
    uint64_t gpa = guest_allocate(g, 1024, 16);

    assert_int_equal(guest_write(&g->memory, gpa, &header, sizeof(header)), 0);
    *status = gpa + 16 + 512;
    *(uint8_t *)guest_at(g, *status, 1) = 0xee;
    struct guest_buffer buffers[] = {{gpa, 16, false}, {gpa + 16, 513, true}};
    guest_add(g, 0, buffers, 2);
}
