/* SPDX-License-Identifier: Apache-2.0 */
/* Saved state of transport and devices: every field comes back, traffic goes on behind a load, and
 * no value of a state file that breaks a rule is taken. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <errno.h>
#include <fcntl.h>
#include <linux/virtio_blk.h>
#include <linux/virtio_config.h>
#include <linux/virtio_ring.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "virtio_guest.h"

#define SECTORS   64ull
#define EVENT_IDX (1ull << VIRTIO_RING_F_EVENT_IDX)

/* The layout of section STATE_VIRTIO_MMIO, version 1, as a file holds it. */
struct saved_queue {
    uint64_t descriptors, driver, device;
    uint16_t size, next_available, next_used, signalled_used;
    uint8_t ready, broken, event_index, signalled_valid;
    uint32_t reserved;
};

struct saved_transport {
    uint32_t device_id, queue_count;
    uint64_t acked_features;
    uint32_t status, interrupt_status, config_generation;
    uint32_t device_features_select, driver_features_select, queue_select;
    struct saved_queue queues[5];
};

struct fixture {
    struct guest guest;
    char path[32];
    struct drive_config drive;
    struct balloon_config balloon;
};

static int setup(void **state)
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

static int teardown(void **state)
{
    struct fixture *f = *state;

    guest_destroy(&f->guest);
    return unlink(f->path);
}

static struct virtio_device *make_block(struct fixture *f)
{
    struct error err = {0};

    return virtio_block_create(&f->drive, &f->guest.memory, f->guest.loop, &err);
}

static struct virtio_device *make_balloon(struct fixture *f)
{
    struct error err = {0};

    return virtio_balloon_create(&f->balloon, &f->guest.memory, f->guest.loop, &err);
}

static struct virtio_device *make_rng(struct fixture *f)
{
    struct error err = {0};

    return virtio_rng_create(&f->guest.memory, f->guest.loop, &err);
}

static void save(struct virtio_mmio *transport, struct state_writer *writer)
{
    struct error err = {0};

    state_writer_init(writer);
    assert_int_equal(virtio_mmio_save(transport, writer, &err), 0);
    assert_int_equal(state_writer_finish(writer, &err), 0);
}

static int load(struct virtio_mmio *transport, const struct state_writer *writer, struct error *err)
{
    struct state_reader reader;

    assert_int_equal(state_reader_open(&reader, writer->data, writer->length, err), 0);
    return virtio_mmio_load(transport, &reader, err);
}

static void assert_same_queue(const struct virtqueue *a, const struct virtqueue *b)
{
    assert_ptr_equal(a->memory, b->memory);
    assert_int_equal(a->size, b->size);
    assert_int_equal(a->ready, b->ready);
    assert_int_equal(a->broken, b->broken);
    assert_int_equal(a->event_index, b->event_index);
    assert_int_equal(a->descriptors, b->descriptors);
    assert_int_equal(a->driver, b->driver);
    assert_int_equal(a->device, b->device);
    assert_int_equal(a->next_available, b->next_available);
    assert_int_equal(a->next_used, b->next_used);
    assert_int_equal(a->signalled_used, b->signalled_used);
    assert_int_equal(a->signalled_valid, b->signalled_valid);
}

static void assert_same(struct virtio_mmio *a, struct virtio_mmio *b)
{
    const struct virtio_device *da = virtio_mmio_device(a), *db = virtio_mmio_device(b);

    assert_int_equal(a->device_features_select, b->device_features_select);
    assert_int_equal(a->driver_features_select, b->driver_features_select);
    assert_int_equal(a->queue_select, b->queue_select);
    assert_int_equal(da->acked_features, db->acked_features);
    assert_int_equal(da->status, db->status);
    assert_int_equal(da->interrupt_status, db->interrupt_status);
    assert_int_equal(da->config_generation, db->config_generation);
    for (unsigned i = 0; i < VIRTIO_MAX_QUEUES; i++)
        assert_same_queue(&da->queues[i], &db->queues[i]);
}

/* Saves the guest's device, loads it into a fresh one, compares, and goes on with the fresh one. */
static void move_to_fresh(struct fixture *f, struct virtio_device *fresh_device)
{
    struct virtio_mmio *old = f->guest.transport;
    struct state_writer writer, again;
    struct error err = {0};

    save(old, &writer);
    guest_plug(&f->guest, fresh_device);
    if (load(f->guest.transport, &writer, &err) < 0)
        fail_msg("load: %s", err.message);
    assert_same(old, f->guest.transport);
    save(f->guest.transport, &again);
    assert_int_equal(again.length, writer.length);
    assert_memory_equal(again.data, writer.data, writer.length);
    state_writer_free(&writer);
    state_writer_free(&again);
    virtio_mmio_destroy(old);
}

/* ---- every field comes back ---- */

static void a_device_as_it_was_created(void **state)
{
    struct fixture *f = *state;

    guest_plug(&f->guest, make_block(f));
    move_to_fresh(f, make_block(f));
    assert_int_equal(guest_get(&f->guest, VIRTIO_MMIO_STATUS), 0);
}

static void in_the_middle_of_the_initialisation(void **state)
{
    struct fixture *f = *state;
    struct guest *g = &f->guest;

    guest_plug(g, make_balloon(f));
    guest_set(g, VIRTIO_MMIO_STATUS, 1);
    guest_set(g, VIRTIO_MMIO_DEVICE_FEATURES_SEL, 1);
    move_to_fresh(f, make_balloon(f));
    guest_set(g, VIRTIO_MMIO_STATUS, 3);
    guest_set(g, VIRTIO_MMIO_DRIVER_FEATURES_SEL, 1);
    guest_set(g, VIRTIO_MMIO_DRIVER_FEATURES, 1);
    move_to_fresh(f, make_balloon(f));
    guest_set(g, VIRTIO_MMIO_STATUS, 11);
    assert_int_equal(guest_get(g, VIRTIO_MMIO_STATUS), 11);
    guest_setup_queue(g, 0, 16);
    guest_set(g, VIRTIO_MMIO_QUEUE_SEL, 1);
    guest_set(g, VIRTIO_MMIO_QUEUE_NUM, 32); /* set, but not ready */
    move_to_fresh(f, make_balloon(f));
    assert_int_equal(virtio_mmio_device(g->transport)->queues[1].size, 32);
    guest_set(g, VIRTIO_MMIO_STATUS, 15);
    assert_true(virtio_device_active(virtio_mmio_device(g->transport)));
}

static void add_read(struct fixture *f, uint64_t sector, uint64_t *status)
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

static void expect_reads_done(struct fixture *f, unsigned count)
{
    uint16_t head;
    uint32_t length;

    for (unsigned i = 0; i < count; i++) {
        assert_true(guest_take_used(&f->guest, 0, &head, &length));
        assert_int_equal(length, 513);
    }
    assert_false(guest_take_used(&f->guest, 0, &head, &length));
}

/* Requests before, requests the device has not looked at yet when it is saved, requests after; over
 * the wrap of the ring, many times. */
static void in_the_middle_of_traffic(void **state)
{
    struct fixture *f = *state;
    struct guest *g = &f->guest;
    uint64_t status[3];

    guest_plug(g, make_block(f));
    guest_start(g, guest_offered_features(g), 8);
    for (unsigned round = 0; round < 20; round++) {
        add_read(f, round, &status[0]);
        guest_notify(g, 0);
        add_read(f, round, &status[1]);
        add_read(f, round, &status[2]);
        /* Signalled but not served: this notification is lost with the old device. */
        guest_set(g, VIRTIO_MMIO_QUEUE_NOTIFY, 0);
        bool handled = round % 2; /* the interrupt of the first request */
        if (handled) {
            guest_set(g, VIRTIO_MMIO_INTERRUPT_ACK, 3);
            expect_reads_done(f, 1);
        }
        move_to_fresh(f, make_block(f));
        assert_int_equal(*(uint8_t *)guest_at(g, status[1], 1), 0xee);
        virtio_mmio_kick(g->transport);
        assert_int_equal(*(uint8_t *)guest_at(g, status[1], 1), VIRTIO_BLK_S_OK);
        assert_true(guest_interrupted(g));
        expect_reads_done(f, handled ? 2 : 3);
    }
}

/* An interrupt that was raised but not delivered is raised again by the kick. */
static void a_pending_interrupt_survives(void **state)
{
    struct fixture *f = *state;
    struct guest *g = &f->guest;
    uint64_t status;

    guest_plug(g, make_block(f));
    guest_start(g, 0, 8);
    add_read(f, 0, &status);
    guest_notify(g, 0);
    move_to_fresh(f, make_block(f));
    virtio_mmio_kick(g->transport);
    assert_true(guest_interrupted(g));
    assert_int_equal(guest_get(g, VIRTIO_MMIO_INTERRUPT_STATUS), VIRTIO_MMIO_INT_VRING);
}

static void a_broken_device_stays_broken(void **state)
{
    struct fixture *f = *state;
    struct guest *g = &f->guest;

    guest_plug(g, make_rng(f));
    guest_start(g, EVENT_IDX, 8);
    guest_descriptor(g, 0, 0, UINT64_MAX, 1, 0, 0);
    guest_publish(g, 0, 0);
    guest_notify(g, 0);
    assert_int_equal(guest_get(g, VIRTIO_MMIO_STATUS), 15 | VIRTIO_CONFIG_S_NEEDS_RESET);
    move_to_fresh(f, make_rng(f));
    assert_int_equal(guest_get(g, VIRTIO_MMIO_STATUS), 15 | VIRTIO_CONFIG_S_NEEDS_RESET);
    virtio_mmio_kick(g->transport);
    assert_true(guest_interrupted(g)); /* the configuration interrupt was not acknowledged */
    guest_start(g, 0, 8);
    assert_true(virtio_device_active(virtio_mmio_device(g->transport)));
}

static void the_balloon(void **state)
{
    struct fixture *f = *state;
    struct guest *g = &f->guest;
    struct error err = {0};

    guest_plug(g, make_balloon(f));
    guest_start(g, guest_offered_features(g), 32);
    assert_int_equal(virtio_balloon_set_target(virtio_mmio_device(g->transport), 3, &err), 0);
    guest_set(g, 0x104, 600);
    uint64_t gpa = guest_allocate(g, 8, 4);
    memset(guest_at(g, gpa, 8), 0, 8);
    struct guest_buffer buffer = {gpa, 8, false};
    guest_add(g, 1, &buffer, 1);
    guest_notify(g, 1);
    move_to_fresh(f, make_balloon(f));
    assert_int_equal(guest_get(g, 0x100), 3 * 256);
    assert_int_equal(guest_get(g, 0x104), 600);
    assert_int_equal(virtio_balloon_actual_mib(virtio_mmio_device(g->transport)), 2);
    assert_int_equal(virtio_mmio_device(g->transport)->queues[1].next_used, 1);
}

/* ---- the drive behind a saved state ---- */

static void expect_load_fails(struct fixture *f, struct virtio_device *device,
                              const struct state_writer *writer, int errnum, const char *words)
{
    struct error err = {0};

    assert_non_null(device);
    struct virtio_mmio *transport = virtio_mmio_create(device, 0, &err);
    assert_non_null(transport);
    assert_int_equal(load(transport, writer, &err), -errnum);
    if (!strstr(err.message, words))
        fail_msg("expected \"%s\" in: %s", words, err.message);
    virtio_mmio_destroy(transport);
    (void)f;
}

static void another_drive(void **state)
{
    struct fixture *f = *state;
    struct state_writer writer;
    struct error err = {0};

    guest_plug(&f->guest, make_block(f));
    guest_start(&f->guest, 0, 8);
    save(f->guest.transport, &writer);

    f->drive.drive_id = (char *)"data";
    expect_load_fails(f, make_block(f), &writer, EBADMSG, "not of drive data");
    f->drive.drive_id = (char *)"rootfs";
    f->drive.is_read_only = true;
    expect_load_fails(f, make_block(f), &writer, EBADMSG, "not of drive rootfs");
    f->drive.is_read_only = false;
    assert_int_equal(truncate(f->path, (SECTORS - 1) * 512), 0);
    expect_load_fails(f, make_block(f), &writer, EINVAL, "63 sectors, it had 64");
    expect_load_fails(f, make_rng(f), &writer, EBADMSG, "another device type");

    /* One that grew is announced. */
    assert_int_equal(truncate(f->path, 2 * SECTORS * 512), 0);
    struct virtio_mmio *old = f->guest.transport;
    guest_plug(&f->guest, make_block(f));
    assert_int_equal(load(f->guest.transport, &writer, &err), 0);
    assert_int_equal(guest_get(&f->guest, 0x100), 2 * SECTORS);
    assert_int_equal(guest_get(&f->guest, VIRTIO_MMIO_INTERRUPT_STATUS), VIRTIO_MMIO_INT_CONFIG);
    assert_true(guest_interrupted(&f->guest));
    virtio_mmio_destroy(old);
    state_writer_free(&writer);
}

/* ---- hostile values ---- */

static void no_change(struct saved_transport *t)
{
    (void)t;
}

#define CHANGE(name, statement)                 \
    static void name(struct saved_transport *t) \
    {                                           \
        statement;                              \
    }

CHANGE(other_device, t->device_id = 4)
CHANGE(fewer_queues, t->queue_count = 0)
CHANGE(more_queues, t->queue_count = 5)
CHANGE(many_queues, t->queue_count = UINT32_MAX)
CHANGE(status_without_driver, t->status = 9)
CHANGE(status_beyond_byte, t->status = 0x10f)
CHANGE(status_unknown_bit, t->status = 0x1f)
CHANGE(features_not_offered, t->acked_features |= 1ull << 34)
CHANGE(features_without_version, t->acked_features &= ~(1ull << 32))
CHANGE(interrupt_unknown, t->interrupt_status = 4)
CHANGE(ready_two, t->queues[0].ready = 2)
CHANGE(broken_two, t->queues[0].broken = 2)
CHANGE(event_index_two, t->queues[0].event_index = 2)
CHANGE(signalled_two, t->queues[0].signalled_valid = 2)
CHANGE(reserved_set, t->queues[0].reserved = 1)
CHANGE(event_index_not_accepted, t->queues[0].event_index ^= 1)
CHANGE(ready_without_features, t->status = 3)
CHANGE(size_zero, t->queues[0].size = 0)
CHANGE(size_odd, t->queues[0].size = 3)
CHANGE(size_large, t->queues[0].size = 512)
CHANGE(descriptors_unaligned, t->queues[0].descriptors += 8)
CHANGE(descriptors_outside, t->queues[0].descriptors = 8u << 20)
CHANGE(descriptors_overflow, t->queues[0].descriptors = UINT64_MAX - 15)
CHANGE(driver_odd, t->queues[0].driver |= 1)
CHANGE(driver_in_gap, t->queues[0].driver = 0xC0000000)
CHANGE(device_unaligned, t->queues[0].device |= 2)
CHANGE(device_overflow, t->queues[0].device = UINT64_MAX - 3)
CHANGE(a_queue_too_many, t->queues[1].next_used = 1)
CHANGE(another_queue_too_many, t->queues[4].ready = 1)

CHANGE(odd_position, t->queues[0].next_available = 0x8001)
CHANGE(odd_used, t->queues[0].next_used = 0xffff)
CHANGE(odd_signalled, t->queues[0].signalled_used = 0x1234)
CHANGE(selectors, t->queue_select = t->device_features_select = t->driver_features_select = ~0u)
CHANGE(generation, t->config_generation = ~0u)
CHANGE(not_started, t->status = 0; t->queues[0].ready = 0; t->acked_features = ~0ull)
CHANGE(failed, t->status |= 0x80)
CHANGE(stopped_queue_anywhere, t->queues[0].ready = 0; t->queues[0].descriptors = ~0ull)

static const struct {
    const char *name;
    void (*change)(struct saved_transport *saved);
    bool accepted;
} changes[] = {
    {"no change", no_change, true},
    {"other_device", other_device, false},
    {"fewer_queues", fewer_queues, false},
    {"more_queues", more_queues, false},
    {"many_queues", many_queues, false},
    {"status_without_driver", status_without_driver, false},
    {"status_beyond_byte", status_beyond_byte, false},
    {"status_unknown_bit", status_unknown_bit, false},
    {"features_not_offered", features_not_offered, false},
    {"features_without_version", features_without_version, false},
    {"interrupt_unknown", interrupt_unknown, false},
    {"ready_two", ready_two, false},
    {"broken_two", broken_two, false},
    {"event_index_two", event_index_two, false},
    {"signalled_two", signalled_two, false},
    {"reserved_set", reserved_set, false},
    {"event_index_not_accepted", event_index_not_accepted, false},
    {"ready_without_features", ready_without_features, false},
    {"size_zero", size_zero, false},
    {"size_odd", size_odd, false},
    {"size_large", size_large, false},
    {"descriptors_unaligned", descriptors_unaligned, false},
    {"descriptors_outside", descriptors_outside, false},
    {"descriptors_overflow", descriptors_overflow, false},
    {"driver_odd", driver_odd, false},
    {"driver_in_gap", driver_in_gap, false},
    {"device_unaligned", device_unaligned, false},
    {"device_overflow", device_overflow, false},
    {"a_queue_too_many", a_queue_too_many, false},
    {"another_queue_too_many", another_queue_too_many, false},
    {"odd_position", odd_position, true},
    {"odd_used", odd_used, true},
    {"odd_signalled", odd_signalled, true},
    {"selectors", selectors, true},
    {"generation", generation, true},
    {"not_started", not_started, true},
    {"failed", failed, true},
    {"stopped_queue_anywhere", stopped_queue_anywhere, true},
};

/* Copies a state with its transport section changed. */
static void change_state(const struct state_writer *from, void (*change)(struct saved_transport *),
                         struct state_writer *to)
{
    struct state_reader reader;
    struct state_section section;
    struct saved_transport saved;
    struct error err = {0};

    assert_int_equal(state_reader_open(&reader, from->data, from->length, &err), 0);
    assert_int_equal(state_get(&reader, STATE_VIRTIO_MMIO, 0, 1, &saved, sizeof(saved), &err), 0);
    change(&saved);
    state_writer_init(to);
    state_put(to, STATE_VIRTIO_MMIO, 0, 1, &saved, sizeof(saved));
    assert_int_equal(state_find(&reader, STATE_VIRTIO_BLOCK, 0, &section), 1);
    state_put(to, STATE_VIRTIO_BLOCK, 0, section.version, section.payload, section.length);
    assert_int_equal(state_writer_finish(to, &err), 0);
}

static void hostile_values(void **state)
{
    struct fixture *f = *state;
    struct state_writer writer, changed;
    uint64_t status;

    guest_plug(&f->guest, make_block(f));
    guest_start(&f->guest, guest_offered_features(&f->guest), 8);
    add_read(f, 0, &status);
    guest_notify(&f->guest, 0);
    add_read(f, 0, &status);
    save(f->guest.transport, &writer);
    for (size_t i = 0; i < ARRAY_SIZE(changes); i++) {
        struct error err = {0};
        struct virtio_mmio *transport = virtio_mmio_create(make_block(f), 0, &err);
        assert_non_null(transport);
        change_state(&writer, changes[i].change, &changed);
        int r = load(transport, &changed, &err);
        if ((r == 0) != changes[i].accepted)
            fail_msg("%s: %d %s", changes[i].name, r, err.message);
        if (r < 0)
            assert_int_equal(err.code, ERROR_CORRUPT);
        else
            virtio_mmio_kick(transport); /* whatever the positions say, nothing crashes */
        virtio_mmio_destroy(transport);
        state_writer_free(&changed);
    }
    state_writer_free(&writer);
}

/* A position that can't be is found at the first look, and breaks the queue. */
static void a_position_that_can_not_be(void **state)
{
    struct fixture *f = *state;
    struct state_writer writer, changed;
    struct error err = {0};
    uint64_t status;

    guest_plug(&f->guest, make_block(f));
    guest_start(&f->guest, 0, 8);
    add_read(f, 0, &status);
    save(f->guest.transport, &writer);
    change_state(&writer, odd_position, &changed);
    struct virtio_mmio *transport = virtio_mmio_create(make_block(f), 0, &err);
    assert_non_null(transport);
    assert_int_equal(load(transport, &changed, &err), 0);
    virtio_mmio_kick(transport);
    assert_int_equal(virtio_mmio_device(transport)->status, 15 | VIRTIO_CONFIG_S_NEEDS_RESET);
    virtio_mmio_destroy(transport);
    state_writer_free(&writer);
    state_writer_free(&changed);
}

static void missing_and_foreign_sections(void **state)
{
    struct fixture *f = *state;
    struct state_writer writer;
    struct error err = {0};
    struct saved_transport saved = {.device_id = 5, .queue_count = 5};
    struct {
        uint32_t target, actual;
    } balloon = {8 * 256 + 1, 0};

    state_writer_init(&writer);
    assert_int_equal(state_writer_finish(&writer, &err), 0);
    expect_load_fails(f, make_balloon(f), &writer, EBADMSG, "");
    state_writer_free(&writer);

    state_writer_init(&writer); /* the device's own section is not there */
    state_put(&writer, STATE_VIRTIO_MMIO, 0, 1, &saved, sizeof(saved));
    assert_int_equal(state_writer_finish(&writer, &err), 0);
    expect_load_fails(f, make_balloon(f), &writer, EBADMSG, "");
    state_writer_free(&writer);

    state_writer_init(&writer);
    state_put(&writer, STATE_VIRTIO_MMIO, 0, 1, &saved, sizeof(saved));
    state_put(&writer, STATE_VIRTIO_BALLOON, 0, 1, &balloon, sizeof(balloon));
    assert_int_equal(state_writer_finish(&writer, &err), 0);
    expect_load_fails(f, make_balloon(f), &writer, EBADMSG, "larger than guest memory");
    state_writer_free(&writer);

    state_writer_init(&writer);
    state_put(&writer, STATE_VIRTIO_MMIO, 0, 2, &saved, sizeof(saved));
    assert_int_equal(state_writer_finish(&writer, &err), 0);
    expect_load_fails(f, make_balloon(f), &writer, EBADMSG, "");
    state_writer_free(&writer);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(a_device_as_it_was_created),
        TEST(in_the_middle_of_the_initialisation),
        TEST(in_the_middle_of_traffic),
        TEST(a_pending_interrupt_survives),
        TEST(a_broken_device_stays_broken),
        TEST(the_balloon),
        TEST(another_drive),
        TEST(hostile_values),
        TEST(a_position_that_can_not_be),
        TEST(missing_and_foreign_sections),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
