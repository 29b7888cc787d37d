/* SPDX-License-Identifier: Apache-2.0 */
/* Guest accesses that leave KVM, handed to the device that owns the address. One bus for MMIO, one
 * for ports. Unclaimed reads give zeros, unclaimed writes are dropped. Handlers run on a vCPU
 * thread with the device lock held. */
#ifndef TINE_VMM_DEVICES_BUS_H
#define TINE_VMM_DEVICES_BUS_H

#include <stddef.h>
#include <stdint.h>

#include "base/error.h"

#define BUS_MAX_DEVICES 40

struct bus_device {
    const char *name;
    uint64_t start, length;
    /* `offset` is from `start`; offset + size never passes `length`; size is 1, 2, 4 or 8. `read`
     * finds `data` zeroed. */
    void (*read)(struct bus_device *device, uint64_t offset, uint8_t *data, size_t size);
    void (*write)(struct bus_device *device, uint64_t offset, const uint8_t *data, size_t size);
};

struct bus {
    struct bus_device *devices[BUS_MAX_DEVICES]; /* not owned, sorted by start */
    unsigned count;
};

/* -EEXIST if the range overlaps another device's, -ENOSPC when the bus is full. */
int bus_add(struct bus *bus, struct bus_device *device, struct error *err);
void bus_read(const struct bus *bus, uint64_t address, uint8_t *data, size_t size);
void bus_write(const struct bus *bus, uint64_t address, const uint8_t *data, size_t size);

#endif
