/* SPDX-License-Identifier: Apache-2.0 */
/* The registers and the order of virtio over MMIO, with a device of the test's own. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <errno.h>
#include <linux/virtio_config.h>
#include <linux/virtio_ring.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "virtio_guest.h"

#define VERSION_1 (1ull << VIRTIO_F_VERSION_1)
#define EVENT_IDX (1ull << VIRTIO_RING_F_EVENT_IDX)
#define OWN       (1ull << 3 | 1ull << 40)
#define QUEUES    2u

struct echo {
    struct virtio_device device;
    uint8_t config[16];
    unsigned activations, resets, notifications[QUEUES], served;
    bool refuse;  /* every request */
    bool by_hand; /* take requests without virtio_serve_queue(), as a vsock does */
};

static struct echo *from_device(struct virtio_device *device)
{
    return CONTAINER_OF(device, struct echo, device);
}

static uint64_t echo_features(const struct virtio_device *device)
{
    (void)device;
    return OWN;
}

static void echo_config_read(struct virtio_device *device, uint64_t offset, uint8_t *data,
                             size_t size)
{
    virtio_config_read(from_device(device)->config, 16, offset, data, size);
}

static void echo_config_write(struct virtio_device *device, uint64_t offset, const uint8_t *data,
                              size_t size)
{
    virtio_config_write(from_device(device)->config, 16, offset, data, size);
}

static void echo_activate(struct virtio_device *device)
{
    from_device(device)->activations++;
}

static void echo_reset(struct virtio_device *device)
{
    from_device(device)->resets++;
}

static int64_t echo_serve(struct virtio_device *device, const struct virtqueue_chain *chain)
{
    struct echo *echo = from_device(device);

    echo->served++;
    return echo->refuse ? -EPROTO : (int64_t)chain->writable_bytes;
}

static void echo_notify(struct virtio_device *device, unsigned index)
{
    struct virtqueue_chain chain;

    from_device(device)->notifications[index]++;
    if (from_device(device)->by_hand)
        (void)virtqueue_pop(&device->queues[index], &chain);
    else
        virtio_serve_queue(device, index, 4, echo_serve);
}

static void echo_destroy(struct virtio_device *device)
{
    free(from_device(device));
}

static const struct virtio_ops echo_ops = {.name = "echo",
                                           .device_id = 42,
                                           .queue_count = QUEUES,
                                           .features = echo_features,
                                           .config_read = echo_config_read,
                                           .config_write = echo_config_write,
                                           .activate = echo_activate,
                                           .reset = echo_reset,
                                           .notify = echo_notify,
                                           .destroy = echo_destroy};

struct fixture {
    struct guest guest;
    struct echo *echo;
};

static int setup(void **state)
{
    static struct fixture fixture;

    guest_create(&fixture.guest, 4);
    fixture.echo = calloc(1, sizeof(*fixture.echo));
    assert_non_null(fixture.echo);
    virtio_device_init(&fixture.echo->device, &echo_ops, &fixture.guest.memory, fixture.guest.loop);
    guest_plug(&fixture.guest, &fixture.echo->device);
    *state = &fixture;
    return 0;
}

static int teardown(void **state)
{
    guest_destroy(&((struct fixture *)*state)->guest);
    return 0;
}

static uint32_t status(struct guest *guest)
{
    return guest_get(guest, VIRTIO_MMIO_STATUS);
}

/* ---- identity and access rules ---- */

static void identity_registers(void **state)
{
    struct guest *g = &((struct fixture *)*state)->guest;

    assert_int_equal(guest_get(g, VIRTIO_MMIO_MAGIC_VALUE), 0x74726976);
    assert_int_equal(guest_get(g, VIRTIO_MMIO_VERSION), 2);
    assert_int_equal(guest_get(g, VIRTIO_MMIO_DEVICE_ID), 42);
    assert_int_equal(guest_get(g, VIRTIO_MMIO_VENDOR_ID), 0);
    assert_int_equal(guest_get(g, VIRTIO_MMIO_SHM_LEN_LOW), UINT32_MAX);
    assert_int_equal(guest_get(g, VIRTIO_MMIO_SHM_LEN_HIGH), UINT32_MAX);
    assert_int_equal(guest_get(g, VIRTIO_MMIO_SHM_BASE_LOW), UINT32_MAX);
    assert_int_equal(guest_get(g, VIRTIO_MMIO_SHM_BASE_HIGH), UINT32_MAX);
    assert_int_equal(status(g), 0);
    assert_int_equal(virtio_mmio_gpa(g->transport), VIRTIO_MMIO_BASE);
    assert_int_equal(virtio_mmio_gsi(g->transport), VIRTIO_FIRST_GSI);
    assert_true(virtio_mmio_irq_fd(g->transport) >= 0);
    assert_true(virtio_mmio_notify_fd(g->transport, QUEUES - 1) >= 0);
    assert_int_equal(virtio_mmio_notify_fd(g->transport, QUEUES), -1);
    assert_ptr_equal(virtio_mmio_device(g->transport), &((struct fixture *)*state)->echo->device);
}

static void identity_registers_are_read_only(void **state)
{
    struct guest *g = &((struct fixture *)*state)->guest;

    for (uint64_t offset = 0; offset < 0x100; offset += 4) {
        if (offset != VIRTIO_MMIO_STATUS && offset != VIRTIO_MMIO_QUEUE_NOTIFY)
            guest_set(g, offset, 0xffffffff);
    }
    guest_set(g, VIRTIO_MMIO_QUEUE_SEL, 0);
    identity_registers(state);
}

static void registers_need_aligned_words(void **state)
{
    struct guest *g = &((struct fixture *)*state)->guest;
    struct bus_device *bus = virtio_mmio_bus_device(g->transport);
    static const struct {
        uint64_t offset;
        size_t size;
    } bad[] = {{0, 1}, {0, 2}, {0, 8}, {1, 4}, {2, 4}, {3, 4}, {4, 8}, {0xfe, 4}, {0x70, 1}};

    for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
        uint8_t data[8] = {0}, zero[8] = {0}, one[8] = {1};
        bus->read(bus, bad[i].offset, data, bad[i].size);
        assert_memory_equal(data, zero, sizeof(data));
        bus->write(bus, bad[i].offset, one, bad[i].size);
    }
    uint8_t one = 1;
    bus->write(bus, VIRTIO_MMIO_STATUS, &one, 1);
    assert_int_equal(status(g), 0);
}

static void configuration_space(void **state)
{
    struct fixture *f = *state;
    struct bus_device *bus = virtio_mmio_bus_device(f->guest.transport);
    uint8_t data[8] = {0};

    for (unsigned i = 0; i < 16; i++)
        f->echo->config[i] = (uint8_t)(0xa0 + i);
    for (size_t size = 1; size <= 8; size *= 2) {
        memset(data, 0, sizeof(data));
        bus->read(bus, 0x103, data, size);
        assert_memory_equal(data, f->echo->config + 3, size);
    }
    memset(data, 0, sizeof(data));
    bus->read(bus, 0x10c, data, 8); /* half of it lies behind the end */
    assert_memory_equal(data, "\xac\xad\xae\xaf\0\0\0\0", 8);
    memset(data, 0, sizeof(data));
    bus->read(bus, 0xff8, data, 8);
    assert_memory_equal(data, "\0\0\0\0\0\0\0\0", 8);

    bus->write(bus, 0x100, data, 4); /* no driver yet */
    assert_int_equal(f->echo->config[0], 0xa0);
    guest_negotiate(&f->guest, VERSION_1);
    bus->write(bus, 0x10c, data, 8);
    assert_memory_equal(f->echo->config + 12, data, 4);
    assert_int_equal(f->echo->config[11], 0xab);
    bus->write(bus, 0xff8, data, 8);
    guest_set(&f->guest, VIRTIO_MMIO_STATUS, 11 | VIRTIO_CONFIG_S_FAILED);
    bus->write(bus, 0x100, data, 4);
    assert_int_equal(f->echo->config[0], 0xa0);
}

/* ---- status and features ---- */

static void offered_features(void **state)
{
    struct guest *g = &((struct fixture *)*state)->guest;

    assert_int_equal(guest_offered_features(g), OWN | VERSION_1 | EVENT_IDX);
    guest_set(g, VIRTIO_MMIO_DEVICE_FEATURES_SEL, 2);
    assert_int_equal(guest_get(g, VIRTIO_MMIO_DEVICE_FEATURES), 0);
    guest_set(g, VIRTIO_MMIO_DEVICE_FEATURES_SEL, 0xffffffff);
    assert_int_equal(guest_get(g, VIRTIO_MMIO_DEVICE_FEATURES), 0);
}

static void feature_choices(void **state)
{
    struct guest *g = &((struct fixture *)*state)->guest;
    static const struct {
        uint64_t features;
        bool ok;
    } cases[] = {
        {VERSION_1, true},
        {VERSION_1 | EVENT_IDX | OWN, true},
        {VERSION_1 | 1ull << 3, true},
        {0, false},
        {EVENT_IDX | OWN, false},
        {VERSION_1 | 1, false},
        {VERSION_1 | 1ull << 28, false}, /* indirect descriptors */
        {VERSION_1 | 1ull << 34, false}, /* packed rings */
        {VERSION_1 | 1ull << 63, false},
        {UINT64_MAX, false},
    };

    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        guest_negotiate(g, cases[i].features);
        if (status(g) != (cases[i].ok ? 11 : 3))
            fail_msg("features %#llx: status %u", (unsigned long long)cases[i].features, status(g));
    }
}

static void features_beyond_64_are_refused(void **state)
{
    struct guest *g = &((struct fixture *)*state)->guest;

    guest_negotiate(g, 0);
    assert_int_equal(status(g), 3);
    guest_set(g, VIRTIO_MMIO_DRIVER_FEATURES_SEL, 1);
    guest_set(g, VIRTIO_MMIO_DRIVER_FEATURES, 1);
    guest_set(g, VIRTIO_MMIO_DRIVER_FEATURES_SEL, 2);
    guest_set(g, VIRTIO_MMIO_DRIVER_FEATURES, 0); /* some drivers clear them all */
    guest_set(g, VIRTIO_MMIO_STATUS, 11);
    assert_int_equal(status(g), 11);

    guest_negotiate(g, 0);
    guest_set(g, VIRTIO_MMIO_DRIVER_FEATURES, 1);
    guest_set(g, VIRTIO_MMIO_DRIVER_FEATURES_SEL, 2);
    guest_set(g, VIRTIO_MMIO_DRIVER_FEATURES, 1);
    guest_set(g, VIRTIO_MMIO_STATUS, 11);
    assert_int_equal(status(g), 3);
}

static void features_are_fixed_after_features_ok(void **state)
{
    struct fixture *f = *state;

    guest_negotiate(&f->guest, VERSION_1);
    guest_set(&f->guest, VIRTIO_MMIO_DRIVER_FEATURES_SEL, 0);
    guest_set(&f->guest, VIRTIO_MMIO_DRIVER_FEATURES, 8);
    assert_int_equal(f->echo->device.acked_features, VERSION_1);
    /* And they can't be set before DRIVER. */
    guest_set(&f->guest, VIRTIO_MMIO_STATUS, 0);
    guest_set(&f->guest, VIRTIO_MMIO_STATUS, 1);
    guest_set(&f->guest, VIRTIO_MMIO_DRIVER_FEATURES, 8);
    assert_int_equal(f->echo->device.acked_features, 0);
}

/* Every value from every state: only the orderly next one is taken. */
static void status_order(void **state)
{
    struct guest *g = &((struct fixture *)*state)->guest;
    static const uint8_t steps[] = {0, 1, 3, 11, 15};

    for (size_t from = 0; from < ARRAY_SIZE(steps); from++) {
        for (uint32_t value = 1; value < 0x80; value++) {
            guest_negotiate(g, VERSION_1); /* leaves acceptable features */
            guest_set(g, VIRTIO_MMIO_STATUS, 0);
            for (size_t i = 1; i <= from; i++) {
                guest_set(g, VIRTIO_MMIO_STATUS, steps[i]);
                if (steps[i] == 3) {
                    guest_set(g, VIRTIO_MMIO_DRIVER_FEATURES_SEL, 1);
                    guest_set(g, VIRTIO_MMIO_DRIVER_FEATURES, 1);
                }
            }
            assert_int_equal(status(g), steps[from]);
            guest_set(g, VIRTIO_MMIO_STATUS, value);
            uint32_t wanted = value & ~(uint32_t)VIRTIO_CONFIG_S_NEEDS_RESET;
            bool next = from + 1 < ARRAY_SIZE(steps) && wanted == steps[from + 1];
            if (status(g) != (next ? wanted : steps[from]))
                fail_msg("from %u, wrote %u: %u", steps[from], value, status(g));
        }
    }
}

static void failed_is_final(void **state)
{
    struct guest *g = &((struct fixture *)*state)->guest;

    guest_set(g, VIRTIO_MMIO_STATUS, 1);
    guest_set(g, VIRTIO_MMIO_STATUS, 1 | VIRTIO_CONFIG_S_FAILED);
    assert_int_equal(status(g), 1 | VIRTIO_CONFIG_S_FAILED);
    guest_set(g, VIRTIO_MMIO_STATUS, 3 | VIRTIO_CONFIG_S_FAILED);
    guest_set(g, VIRTIO_MMIO_STATUS, 3);
    assert_int_equal(status(g), 1 | VIRTIO_CONFIG_S_FAILED);
    guest_set(g, VIRTIO_MMIO_STATUS, 0);
    assert_int_equal(status(g), 0);
}

static void activation_and_reset(void **state)
{
    struct fixture *f = *state;
    struct virtio_device *device = &f->echo->device;

    guest_start(&f->guest, EVENT_IDX, 16);
    assert_int_equal(f->echo->activations, 1);
    assert_true(virtio_device_active(device));
    assert_true(device->queues[0].event_index);
    virtio_signal_config(device);
    assert_int_equal(guest_get(&f->guest, VIRTIO_MMIO_CONFIG_GENERATION), 1);
    unsigned resets = f->echo->resets;

    guest_set(&f->guest, VIRTIO_MMIO_STATUS, 0);
    assert_int_equal(f->echo->resets, resets + 1);
    assert_false(virtio_device_active(device));
    assert_int_equal(device->acked_features, 0);
    assert_int_equal(device->interrupt_status, 0);
    assert_int_equal(device->config_generation, 0);
    for (unsigned i = 0; i < QUEUES; i++) {
        struct virtqueue fresh = {.memory = &f->guest.memory};
        assert_memory_equal(&device->queues[i], &fresh, sizeof(fresh));
    }
    assert_int_equal(f->guest.transport->queue_select, 0);
    assert_int_equal(f->guest.transport->driver_features_select, 0);
    assert_int_equal(f->guest.transport->device_features_select, 0);

    guest_start(&f->guest, 0, 8); /* and it can be brought up again */
    assert_int_equal(f->echo->activations, 2);
    assert_false(device->queues[0].event_index);
}

/* ---- queues ---- */

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

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(identity_registers),
        TEST(identity_registers_are_read_only),
        TEST(registers_need_aligned_words),
        TEST(configuration_space),
        TEST(offered_features),
        TEST(feature_choices),
        TEST(features_beyond_64_are_refused),
        TEST(features_are_fixed_after_features_ok),
        TEST(status_order),
        TEST(failed_is_final),
        TEST(activation_and_reset),
        TEST(queue_selection),
        TEST(queues_are_set_only_between_features_ok_and_driver_ok),
        TEST(bad_queues_do_not_get_ready),
        TEST(requests_are_served_and_signalled),
        TEST(many_requests_are_served_in_turns),
        TEST(notifications_before_driver_ok_are_ignored),
        TEST(kick_looks_at_every_queue_and_repeats_interrupts),
        TEST(a_broken_queue_asks_for_a_reset),
        TEST(a_queue_found_broken_by_hand_asks_for_a_reset),
        TEST(a_refused_request_asks_for_a_reset),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
