/* SPDX-License-Identifier: Apache-2.0 */
#include "vmm/devices/bus.h"

#include <errno.h>
#include <string.h>

/* The first place whose device starts above `address`. */
static unsigned bus_upper_bound(const struct bus *bus, uint64_t address)
{
    unsigned low = 0, high = bus->count;
    while (low < high) {
        unsigned middle = low + (high - low) / 2;
        if (bus->devices[middle]->start <= address)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

/* The device that owns every byte of the access, or NULL. */
static struct bus_device *bus_find(const struct bus *bus, uint64_t address, size_t size)
{
    unsigned above = bus_upper_bound(bus, address);
    if (above == 0)
        return NULL;
    struct bus_device *device = bus->devices[above - 1];
    uint64_t offset = address - device->start;
    if (offset >= device->length || size > device->length - offset)
        return NULL;
    return device;
}

static int bus_refuse_overlap(const struct bus_device *device, const struct bus_device *other,
                              struct error *err)
{
    return error_set(err, ERROR_INVALID, EEXIST, "%s at 0x%llx overlaps %s at 0x%llx", device->name,
                     (unsigned long long)device->start, other->name,
                     (unsigned long long)other->start);
}

int bus_add(struct bus *bus, struct bus_device *device, struct error *err)
{
    if (device->length == 0 || device->start > UINT64_MAX - device->length)
        return error_set(err, ERROR_INVALID, EINVAL, "%s has no valid address range", device->name);
    unsigned place = bus_upper_bound(bus, device->start);
    if (place > 0) {
        const struct bus_device *below = bus->devices[place - 1];
        if (device->start - below->start < below->length)
            return bus_refuse_overlap(device, below, err);
    }
    if (place < bus->count && bus->devices[place]->start - device->start < device->length)
        return bus_refuse_overlap(device, bus->devices[place], err);
    if (bus->count == BUS_MAX_DEVICES)
        return error_set(err, ERROR_RESOURCES, ENOSPC, "no room on the bus for %s", device->name);
    memmove(&bus->devices[place + 1], &bus->devices[place],
            (bus->count - place) * sizeof(struct bus_device *));
    bus->devices[place] = device;
    bus->count++;
    return 0;
}

void bus_read(const struct bus *bus, uint64_t address, uint8_t *data, size_t size)
{
    memset(data, 0, size);
    struct bus_device *device = bus_find(bus, address, size);
    if (device)
        device->read(device, address - device->start, data, size);
}

void bus_write(const struct bus *bus, uint64_t address, const uint8_t *data, size_t size)
{
    struct bus_device *device = bus_find(bus, address, size);
    if (device)
        device->write(device, address - device->start, data, size);
}
