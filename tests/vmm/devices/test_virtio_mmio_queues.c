/* SPDX-License-Identifier: Apache-2.0 */
/* The MMIO transport: queues, notifications and interrupts. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <linux/virtio_config.h>
#include <linux/virtio_ring.h>

#include "base/cleanup.h"
#include "echo_device.h"
#include "virtio_guest.h"

static void queue_selection(void **state)
{
    struct guest *g = &((struct fixture *)*state)->guest;

    guest_negotiate(g, VERSION_1);
    for (uint32_t i = 0; i < QUEUES; i++) {
        guest_set(g, VIRTIO_MMIO_QUEUE_SEL, i);
        assert_int_equal(guest_get(g, VIRTIO_MMIO_QUEUE_NUM_MAX), 256);
        assert_int_equal(guest_get(g, VIRTIO_MMIO_QUEUE_READY), 0);
    }
    static const uint32_t absent[] = {QUEUES, VIRTIO_MAX_QUEUES, 1000, UINT32_MAX};
    for (size_t i = 0; i < ARRAY_SIZE(absent); i++) {
        guest_set(g, VIRTIO_MMIO_QUEUE_SEL, absent[i]);
        assert_int_equal(guest_get(g, VIRTIO_MMIO_QUEUE_NUM_MAX), 0);
        guest_set(g, VIRTIO_MMIO_QUEUE_NUM, 8);
        guest_set(g, VIRTIO_MMIO_QUEUE_DESC_LOW, 0x1000);
        guest_set(g, VIRTIO_MMIO_QUEUE_READY, 1);
        assert_int_equal(guest_get(g, VIRTIO_MMIO_QUEUE_READY), 0);
    }
}

/* Sets queue 0 up with the given values and returns QueueReady. */
static uint32_t try_queue(struct guest *g, uint32_t size, uint64_t descriptors, uint64_t available,
                          uint64_t used)
{
    guest_set(g, VIRTIO_MMIO_QUEUE_SEL, 0);
    guest_set(g, VIRTIO_MMIO_QUEUE_NUM, size);
    guest_set(g, VIRTIO_MMIO_QUEUE_DESC_LOW, (uint32_t)descriptors);
    guest_set(g, VIRTIO_MMIO_QUEUE_DESC_HIGH, (uint32_t)(descriptors >> 32));
    guest_set(g, VIRTIO_MMIO_QUEUE_AVAIL_LOW, (uint32_t)available);
    guest_set(g, VIRTIO_MMIO_QUEUE_AVAIL_HIGH, (uint32_t)(available >> 32));
    guest_set(g, VIRTIO_MMIO_QUEUE_USED_LOW, (uint32_t)used);
    guest_set(g, VIRTIO_MMIO_QUEUE_USED_HIGH, (uint32_t)(used >> 32));
    guest_set(g, VIRTIO_MMIO_QUEUE_READY, 1);
    return guest_get(g, VIRTIO_MMIO_QUEUE_READY);
}

static void queues_are_set_only_between_features_ok_and_driver_ok(void **state)
{
    struct fixture *f = *state;
    struct guest *g = &f->guest;
    const struct virtqueue *queue = &f->echo->device.queues[0];

    assert_int_equal(try_queue(g, 8, 0x1000, 0x2000, 0x3000), 0);
    assert_int_equal(queue->size, 0);
    guest_set(g, VIRTIO_MMIO_STATUS, 1);
    guest_set(g, VIRTIO_MMIO_STATUS, 3);
    assert_int_equal(try_queue(g, 8, 0x1000, 0x2000, 0x3000), 0);
    assert_int_equal(queue->descriptors, 0);

    guest_negotiate(g, VERSION_1);
    assert_int_equal(try_queue(g, 8, 0x1000, 0x2000, 0x3000), 1);
    assert_int_equal(try_queue(g, 16, 0x4000, 0x5000, 0x6000), 1);
    assert_int_equal(queue->size, 8); /* while ready nothing changes */
    assert_int_equal(queue->descriptors, 0x1000);
    guest_set(g, VIRTIO_MMIO_STATUS, 15);
    guest_set(g, VIRTIO_MMIO_QUEUE_READY, 0);
    assert_int_equal(guest_get(g, VIRTIO_MMIO_QUEUE_READY), 0);
    assert_int_equal(try_queue(g, 16, 0x4000, 0x5000, 0x6000), 0);
    assert_int_equal(queue->size, 8);
}

static void bad_queues_do_not_get_ready(void **state)
{
    struct guest *g = &((struct fixture *)*state)->guest;
    static const uint32_t sizes[] = {0, 3, 255, 257, 512, 65536, 65544, UINT32_MAX};

    guest_negotiate(g, VERSION_1);
    for (size_t i = 0; i < ARRAY_SIZE(sizes); i++)
        assert_int_equal(try_queue(g, sizes[i], 0x1000, 0x2000, 0x3000), 0);
    assert_int_equal(try_queue(g, 8, 0x1001, 0x2000, 0x3000), 0);
    assert_int_equal(try_queue(g, 8, 0x1000, 0x2001, 0x3000), 0);
    assert_int_equal(try_queue(g, 8, 0x1000, 0x2000, 0x3002), 0);
    assert_int_equal(try_queue(g, 8, 4u << 20, 0x2000, 0x3000), 0);
    assert_int_equal(try_queue(g, 8, 0x1000, 1ull << 40, 0x3000), 0);
    assert_int_equal(try_queue(g, 8, 0x1000, 0x2000, UINT64_MAX - 3), 0);
    assert_int_equal(try_queue(g, 256, 0x1000, 0x2000, 0x3000), 1);
}

/* ---- notifications and interrupts ---- */

static void add_one(struct guest *g, unsigned index)
{
    struct guest_buffer buffer = {guest_allocate(g, 16, 16), 16, true};

    guest_add(g, index, &buffer, 1);
}

static void requests_are_served_and_signalled(void **state)
{
    struct fixture *f = *state;
    struct guest *g = &f->guest;
    uint16_t head;
    uint32_t length;

    guest_start(g, 0, 16);
    add_one(g, 1);
    guest_notify(g, 1);
    assert_int_equal(f->echo->notifications[0], 0);
    assert_int_equal(f->echo->notifications[1], 1);
    assert_true(guest_take_used(g, 1, &head, &length));
    assert_int_equal(length, 16);
    assert_true(guest_interrupted(g));
    assert_int_equal(guest_get(g, VIRTIO_MMIO_INTERRUPT_STATUS), VIRTIO_MMIO_INT_VRING);
    guest_set(g, VIRTIO_MMIO_INTERRUPT_ACK, VIRTIO_MMIO_INT_CONFIG);
    assert_int_equal(guest_get(g, VIRTIO_MMIO_INTERRUPT_STATUS), VIRTIO_MMIO_INT_VRING);
    guest_set(g, VIRTIO_MMIO_INTERRUPT_ACK, VIRTIO_MMIO_INT_VRING);
    assert_int_equal(guest_get(g, VIRTIO_MMIO_INTERRUPT_STATUS), 0);
    guest_notify(g, 1); /* nothing new: no interrupt */
    assert_false(guest_interrupted(g));
    guest_notify(g, 2); /* no such queue */
    guest_notify(g, UINT32_MAX);
    assert_int_equal(f->echo->served, 1);
}

static void many_requests_are_served_in_turns(void **state)
{
    struct fixture *f = *state;
    struct guest *g = &f->guest;

    guest_start(g, EVENT_IDX, 16);
    for (unsigned i = 0; i < 10; i++)
        add_one(g, 0);
    guest_notify(g, 0);
    assert_int_equal(f->echo->served, 10);
    assert_int_equal(f->echo->notifications[0], 3); /* 4 + 4 + 2 */
    /* The driver is asked to notify exactly for the next one. */
    uint16_t event;
    uint64_t at = g->rings[0].used + 4 + 8ull * 16;
    assert_int_equal(guest_read(&g->memory, at, &event, 2), 0);
    assert_int_equal(event, 10);
}

static void notifications_before_driver_ok_are_ignored(void **state)
{
    struct fixture *f = *state;
    struct guest *g = &f->guest;

    guest_notify(g, 0);
    guest_negotiate(g, VERSION_1);
    guest_setup_queue(g, 0, 8);
    add_one(g, 0);
    guest_notify(g, 0);
    assert_int_equal(f->echo->served, 0);
    guest_set(g, VIRTIO_MMIO_STATUS, 15);
    guest_notify(g, 0);
    assert_int_equal(f->echo->served, 1);
    guest_notify(g, 1); /* never set up */
    assert_int_equal(f->echo->notifications[1], 0);
}

static void kick_looks_at_every_queue_and_repeats_interrupts(void **state)
{
    struct fixture *f = *state;
    struct guest *g = &f->guest;

    virtio_mmio_kick(g->transport); /* inactive: nothing */
    assert_false(guest_interrupted(g));
    guest_start(g, 0, 8);
    add_one(g, 0);
    add_one(g, 1);
    virtio_mmio_kick(g->transport);
    assert_int_equal(f->echo->served, 2);
    assert_true(guest_interrupted(g));
    virtio_mmio_kick(g->transport);
    assert_int_equal(f->echo->served, 2);
    assert_true(guest_interrupted(g)); /* not acknowledged yet */
    guest_set(g, VIRTIO_MMIO_INTERRUPT_ACK, 3);
    virtio_mmio_kick(g->transport);
    assert_false(guest_interrupted(g));
}

static void assert_needs_reset(struct fixture *f)
{
    struct guest *g = &f->guest;

    assert_int_equal(status(g), 15 | VIRTIO_CONFIG_S_NEEDS_RESET);
    assert_true(guest_interrupted(g));
    assert_int_equal(guest_get(g, VIRTIO_MMIO_INTERRUPT_STATUS) & VIRTIO_MMIO_INT_CONFIG,
                     VIRTIO_MMIO_INT_CONFIG);
    assert_int_equal(guest_get(g, VIRTIO_MMIO_CONFIG_GENERATION), 1);
    assert_false(virtio_device_active(&f->echo->device));
    /* Silent until the reset, then as new. */
    unsigned served = f->echo->served;
    add_one(g, 1);
    guest_notify(g, 1);
    virtio_mmio_kick(g->transport);
    assert_int_equal(f->echo->served, served);
    f->echo->refuse = false;
    guest_start(g, 0, 8);
    add_one(g, 0);
    guest_notify(g, 0);
    assert_int_equal(f->echo->served, served + 1);
}

static void a_broken_queue_asks_for_a_reset(void **state)
{
    struct fixture *f = *state;

    guest_start(&f->guest, 0, 8);
    guest_descriptor(&f->guest, 0, 0, UINT64_MAX, 1, 0, 0);
    guest_publish(&f->guest, 0, 0);
    guest_notify(&f->guest, 0);
    assert_int_equal(f->echo->served, 0);
    assert_needs_reset(f);
}

static void a_queue_found_broken_by_hand_asks_for_a_reset(void **state)
{
    struct fixture *f = *state;

    f->echo->by_hand = true;
    guest_start(&f->guest, 0, 8);
    guest_publish(&f->guest, 0, 8); /* no such descriptor */
    guest_notify(&f->guest, 0);
    f->echo->by_hand = false;
    assert_needs_reset(f);
}

static void a_refused_request_asks_for_a_reset(void **state)
{
    struct fixture *f = *state;
    uint16_t head;
    uint32_t length;

    guest_start(&f->guest, 0, 8);
    f->echo->refuse = true;
    add_one(&f->guest, 0);
    guest_notify(&f->guest, 0);
    assert_false(guest_take_used(&f->guest, 0, &head, &length));
    assert_needs_reset(f);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        ECHO_TEST(queue_selection),
        ECHO_TEST(queues_are_set_only_between_features_ok_and_driver_ok),
        ECHO_TEST(bad_queues_do_not_get_ready),
        ECHO_TEST(requests_are_served_and_signalled),
        ECHO_TEST(many_requests_are_served_in_turns),
        ECHO_TEST(notifications_before_driver_ok_are_ignored),
        ECHO_TEST(kick_looks_at_every_queue_and_repeats_interrupts),
        ECHO_TEST(a_broken_queue_asks_for_a_reset),
        ECHO_TEST(a_queue_found_broken_by_hand_asks_for_a_reset),
        ECHO_TEST(a_refused_request_asks_for_a_reset),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
