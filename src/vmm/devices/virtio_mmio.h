/* SPDX-License-Identifier: Apache-2.0 */
/* The transport's own struct, shared by its life (virtio_mmio.c), its registers
 * (virtio_mmio_registers.c) and its saved state (virtio_mmio_state.c). Others use virtio.h. */
#ifndef TINE_VMM_DEVICES_VIRTIO_MMIO_H
#define TINE_VMM_DEVICES_VIRTIO_MMIO_H

#include <stdint.h>

#include "vmm/devices/virtio.h"

struct virtio_mmio_notifier {
    struct loop_source source;
    struct virtio_mmio *transport;
    unsigned index; /* of the queue */
};

struct virtio_mmio {
    struct bus_device bus;
    struct virtio_device *device;
    uint32_t slot;
    uint32_t device_features_select, driver_features_select, queue_select;
    struct virtio_mmio_notifier notifiers[VIRTIO_MAX_QUEUES];
};

/* What the device offers, the transport's own features included. */
uint64_t virtio_mmio_offered(const struct virtio_mmio *transport);
/* True if `features` may stand when the driver sets FEATURES_OK (virtio 1.2, section 3.1.1). */
bool virtio_mmio_features_acceptable(const struct virtio_mmio *transport, uint64_t features);

/* A register below the configuration space, by its offset; unknown ones read as 0. */
uint32_t virtio_mmio_read_register(struct virtio_mmio *transport, uint64_t offset);
void virtio_mmio_write_register(struct virtio_mmio *transport, uint64_t offset, uint32_t value);

#endif
