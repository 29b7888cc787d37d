/* SPDX-License-Identifier: Apache-2.0 */
/* The MMIO transport on the bus and in the event loop: accesses, notifications, life. */
#include "vmm/devices/virtio_mmio.h"

#include <errno.h>
#include <linux/virtio_config.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "base/cleanup.h"

static struct virtio_mmio *from_bus(struct bus_device *bus)
{
    return CONTAINER_OF(bus, struct virtio_mmio, bus);
}

/* ---- the bus ---- */

/* 4.2.2.2: registers are accessed 32 bits wide and aligned; the configuration space is not bound to
 * that. */
static bool register_access(uint64_t offset, size_t size)
{
    return size == 4 && offset % 4 == 0;
}

static void mmio_read(struct bus_device *bus, uint64_t offset, uint8_t *data, size_t size)
{
    struct virtio_mmio *transport = from_bus(bus);
    struct virtio_device *device = transport->device;

    if (offset >= VIRTIO_MMIO_CONFIG) {
        device->ops->config_read(device, offset - VIRTIO_MMIO_CONFIG, data, size);
    } else if (register_access(offset, size)) {
        uint32_t value = virtio_mmio_read_register(transport, offset);
        memcpy(data, &value, sizeof(value));
    }
}

static void mmio_write(struct bus_device *bus, uint64_t offset, const uint8_t *data, size_t size)
{
    struct virtio_mmio *transport = from_bus(bus);
    struct virtio_device *device = transport->device;
    uint8_t up = device->status & (VIRTIO_CONFIG_S_DRIVER | VIRTIO_CONFIG_S_FAILED);

    if (offset >= VIRTIO_MMIO_CONFIG) {
        if (device->ops->config_write && up == VIRTIO_CONFIG_S_DRIVER)
            device->ops->config_write(device, offset - VIRTIO_MMIO_CONFIG, data, size);
    } else if (register_access(offset, size)) {
        uint32_t value;
        memcpy(&value, data, sizeof(value));
        virtio_mmio_write_register(transport, offset, value);
    }
}

/* ---- notifications ---- */

static void look_at_queue(struct virtio_mmio *transport, unsigned index)
{
    struct virtio_device *device = transport->device;
    const struct virtqueue *queue = &device->queues[index];

    if (!virtio_device_active(device) || !queue->ready || queue->broken)
        return;
    device->ops->notify(device, index);
    virtio_signal_queue(device, index); /* tells the driver if `notify` found the queue broken */
}

static void notified(struct loop_source *source, uint32_t events)
{
    struct virtio_mmio_notifier *notifier =
        CONTAINER_OF(source, struct virtio_mmio_notifier, source);
    eventfd_t count;

    (void)events;
    /* EAGAIN: a reset or an earlier look already took it. */
    if (eventfd_read(source->fd, &count) == 0)
        look_at_queue(notifier->transport, notifier->index);
}

void virtio_mmio_kick(struct virtio_mmio *transport)
{
    struct virtio_device *device = transport->device;

    /* An interrupt that was raised but not delivered before a save is raised again; one too many
     * does no harm: the driver reads InterruptStatus first (4.2.3.4). */
    if (device->interrupt_status != 0 && device->irq_fd >= 0)
        (void)eventfd_write(device->irq_fd, 1);
    for (unsigned i = 0; i < device->ops->queue_count; i++)
        look_at_queue(transport, i);
}

/* ---- life ---- */

static int open_event(int *fd, struct error *err)
{
    *fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    return *fd < 0 ? error_errno(err, errno, NULL, "create an eventfd for a virtio device") : 0;
}

static int add_notifier(struct virtio_mmio *transport, unsigned index, struct error *err)
{
    struct virtio_mmio_notifier *notifier = &transport->notifiers[index];
    struct virtio_device *device = transport->device;

    notifier->transport = transport;
    notifier->index = index;
    notifier->source.ready = notified;
    int r = open_event(&notifier->source.fd, err);
    if (r < 0)
        return r;
    device->notify_fds[index] = notifier->source.fd;
    return loop_add(device->loop, &notifier->source, EPOLLIN, err);
}

static int open_events(struct virtio_mmio *transport, struct error *err)
{
    int r = open_event(&transport->device->irq_fd, err);

    for (unsigned i = 0; r == 0 && i < transport->device->ops->queue_count; i++)
        r = add_notifier(transport, i, err);
    return r;
}

static void close_events(struct virtio_mmio *transport)
{
    struct virtio_device *device = transport->device;

    for (unsigned i = 0; i < VIRTIO_MAX_QUEUES; i++) {
        if (device->notify_fds[i] < 0)
            continue;
        loop_remove(device->loop, &transport->notifiers[i].source);
        close(device->notify_fds[i]);
        device->notify_fds[i] = -1;
    }
    if (device->irq_fd >= 0)
        close(device->irq_fd);
    device->irq_fd = -1;
}

struct virtio_mmio *virtio_mmio_create(struct virtio_device *device, uint32_t slot,
                                       struct error *err)
{
    struct virtio_mmio *transport = calloc(1, sizeof(*transport));

    if (!transport) {
        error_errno(err, ENOMEM, NULL, "create virtio device %s", device->ops->name);
        device->ops->destroy(device);
        return NULL;
    }
    transport->device = device;
    transport->slot = slot;
    transport->bus = (struct bus_device){.name = device->ops->name,
                                         .start = virtio_mmio_gpa(transport),
                                         .length = VIRTIO_MMIO_SIZE,
                                         .read = mmio_read,
                                         .write = mmio_write};
    if (open_events(transport, err) < 0) {
        virtio_mmio_destroy(transport);
        return NULL;
    }
    return transport;
}

void virtio_mmio_destroy(struct virtio_mmio *transport)
{
    if (!transport)
        return;
    close_events(transport);
    transport->device->ops->destroy(transport->device);
    free(transport);
}

struct bus_device *virtio_mmio_bus_device(struct virtio_mmio *transport)
{
    return &transport->bus;
}

struct virtio_device *virtio_mmio_device(struct virtio_mmio *transport)
{
    return transport->device;
}

uint32_t virtio_mmio_slot(const struct virtio_mmio *transport)
{
    return transport->slot;
}

uint64_t virtio_mmio_gpa(const struct virtio_mmio *transport)
{
    return VIRTIO_MMIO_BASE + transport->slot * VIRTIO_MMIO_SIZE;
}

uint32_t virtio_mmio_gsi(const struct virtio_mmio *transport)
{
    return VIRTIO_FIRST_GSI + transport->slot;
}

int virtio_mmio_irq_fd(const struct virtio_mmio *transport)
{
    return transport->device->irq_fd;
}

int virtio_mmio_notify_fd(const struct virtio_mmio *transport, unsigned index)
{
    return transport->device->notify_fds[index];
}
