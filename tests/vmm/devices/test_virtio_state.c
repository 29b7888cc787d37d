/* SPDX-License-Identifier: Apache-2.0 */
/* Saved state of transport and devices: every field comes back, traffic goes on behind a load, and
 * no value of a state file that breaks a rule is taken. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <fcntl.h>
#include <linux/virtio_blk.h>
#include <linux/virtio_config.h>
#include <linux/virtio_ring.h>
#include <string.h>

#include "state_guest.h"
#include "virtio_guest.h"

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

int main(void)
{
    const struct CMUnitTest tests[] = {
        STATE_TEST(a_device_as_it_was_created),   STATE_TEST(in_the_middle_of_the_initialisation),
        STATE_TEST(in_the_middle_of_traffic),     STATE_TEST(a_pending_interrupt_survives),
        STATE_TEST(a_broken_device_stays_broken), STATE_TEST(the_balloon),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
