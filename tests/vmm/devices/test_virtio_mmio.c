/* SPDX-License-Identifier: Apache-2.0 */
/* The registers of the MMIO transport: identity, access rules, status and features. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <linux/virtio_config.h>
#include <string.h>

#include "base/cleanup.h"
#include "echo_device.h"
#include "virtio_guest.h"

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

int main(void)
{
    const struct CMUnitTest tests[] = {
        ECHO_TEST(identity_registers),
        ECHO_TEST(identity_registers_are_read_only),
        ECHO_TEST(registers_need_aligned_words),
        ECHO_TEST(configuration_space),
        ECHO_TEST(offered_features),
        ECHO_TEST(feature_choices),
        ECHO_TEST(features_beyond_64_are_refused),
        ECHO_TEST(features_are_fixed_after_features_ok),
        ECHO_TEST(status_order),
        ECHO_TEST(failed_is_final),
        ECHO_TEST(activation_and_reset),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
