/* SPDX-License-Identifier: Apache-2.0 */
/* Devices that are saved and loaded, and the layout of what is saved. */
#ifndef TINE_TESTS_STATE_GUEST_H
#define TINE_TESTS_STATE_GUEST_H

#include <linux/virtio_ring.h>
#include <stdint.h>

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

int state_setup(void **state);
int state_teardown(void **state);
struct virtio_device *make_block(struct fixture *f);
struct virtio_device *make_balloon(struct fixture *f);
struct virtio_device *make_rng(struct fixture *f);
void save(struct virtio_mmio *transport, struct state_writer *writer);
int load(struct virtio_mmio *transport, const struct state_writer *writer, struct error *err);
/* Makes a request for a sector available; `status` says where its outcome will be. */
void add_read(struct fixture *f, uint64_t sector, uint64_t *status);

#define STATE_TEST(name) cmocka_unit_test_setup_teardown(name, state_setup, state_teardown)

#endif
