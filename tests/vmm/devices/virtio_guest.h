/* SPDX-License-Identifier: Apache-2.0 */
/* The driver's side of virtio over MMIO for tests: a small guest memory, rings laid out in it, and
 * register accesses as a vCPU would make them. Every function asserts that what it does worked. */
#ifndef TINE_TESTS_VIRTIO_GUEST_H
#define TINE_TESTS_VIRTIO_GUEST_H

#include <stdbool.h>
#include <stdint.h>

#include "vmm/devices/virtio.h"
#include "vmm/devices/virtio_mmio.h"

struct guest_ring {
    uint16_t size;
    uint64_t descriptors, available, used;
    uint16_t next_descriptor, available_index, used_index;
};

struct guest {
    struct guest_memory memory;
    struct loop *loop;
    struct virtio_mmio *transport;
    uint64_t next_free; /* guest memory is handed out upwards and never taken back */
    struct guest_ring rings[VIRTIO_MAX_QUEUES];
};

struct guest_buffer {
    uint64_t gpa;
    uint32_t length;
    bool writable;
};

/* Anonymous memory; the first MiB is left alone. */
void guest_create(struct guest *guest, uint64_t memory_mib);
/* Memory mapped from a fresh file in which each page holds its number + 1 in every byte. */
void guest_create_from_file(struct guest *guest, uint64_t memory_mib);
void guest_destroy(struct guest *guest);
/* Puts a device behind a transport in slot 0; `device` must not be NULL. */
void guest_plug(struct guest *guest, struct virtio_device *device);

uint64_t guest_allocate(struct guest *guest, uint64_t bytes, uint64_t alignment);
void *guest_at(const struct guest *guest, uint64_t gpa, uint64_t length);

uint32_t guest_get(struct guest *guest, uint64_t offset);
void guest_set(struct guest *guest, uint64_t offset, uint32_t value);
uint64_t guest_offered_features(struct guest *guest);

/* Reset, ACKNOWLEDGE, DRIVER, features, FEATURES_OK; the caller looks at the status. */
void guest_negotiate(struct guest *guest, uint64_t features);
/* Lays a ring of `size` out, tells the device its addresses and sets it ready. */
void guest_setup_queue(struct guest *guest, unsigned index, uint16_t size);
/* All of it, up to DRIVER_OK, with every queue of the device. VERSION_1 is added. */
void guest_start(struct guest *guest, uint64_t features, uint16_t queue_size);

/* Writes one descriptor as it is given. */
void guest_descriptor(struct guest *guest, unsigned index, uint16_t descriptor, uint64_t gpa,
                      uint32_t length, uint16_t flags, uint16_t next);
/* Makes descriptor `head` available. */
void guest_publish(struct guest *guest, unsigned index, uint16_t head);
/* Builds a chain and makes it available; returns its head. */
uint16_t guest_add(struct guest *guest, unsigned index, const struct guest_buffer *buffers,
                   unsigned count);
/* Runs the device loop until no notification is pending. */
void guest_run(struct guest *guest);
/* Writes QueueNotify, then guest_run(). */
void guest_notify(struct guest *guest, unsigned index);
/* Takes the next used element; false if there is none. */
bool guest_take_used(struct guest *guest, unsigned index, uint16_t *head, uint32_t *length);
/* True if the interrupt line was raised since the last call. */
bool guest_interrupted(struct guest *guest);

#endif
