/* SPDX-License-Identifier: Apache-2.0 */
#include "vmm/devices/virtio.h"

#include <linux/virtio_config.h>
#include <linux/virtio_mmio.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/eventfd.h>

#include "base/log.h"

void virtio_device_init(struct virtio_device *device, const struct virtio_ops *ops,
                        struct guest_memory *memory, struct loop *loop)
{
    *device = (struct virtio_device){.ops = ops, .memory = memory, .loop = loop, .irq_fd = -1};
    for (unsigned i = 0; i < VIRTIO_MAX_QUEUES; i++) {
        device->queues[i].memory = memory;
        device->notify_fds[i] = -1;
    }
}

bool virtio_device_active(const struct virtio_device *device)
{
    return (device->status & (VIRTIO_CONFIG_S_DRIVER_OK | VIRTIO_CONFIG_S_NEEDS_RESET)) ==
           VIRTIO_CONFIG_S_DRIVER_OK;
}

void virtio_complain(struct virtio_device *device, const char *format, ...)
{
    char text[512];
    va_list arguments;

    if (device->complaints >= VIRTIO_MAX_COMPLAINTS)
        return;
    device->complaints++;
    va_start(arguments, format);
    (void)vsnprintf(text, sizeof(text), format, arguments);
    va_end(arguments);
    log_warning("virtio %s: %s%s", device->ops->name, text,
                device->complaints == VIRTIO_MAX_COMPLAINTS ? " (further warnings are not shown)"
                                                            : "");
}

/* An eventfd write fails only when the counter is full: then the event is pending anyway. */
static void raise_event(int fd)
{
    if (fd >= 0)
        (void)eventfd_write(fd, 1);
}

static void raise_interrupt(struct virtio_device *device, uint32_t reason)
{
    device->interrupt_status |= reason;
    raise_event(device->irq_fd);
}

void virtio_signal_config(struct virtio_device *device)
{
    device->config_generation++;
    raise_interrupt(device, VIRTIO_MMIO_INT_CONFIG);
}

/* 2.1.2: the device stops and says so; a driver that was not up has nothing to be told. */
static void ask_for_reset(struct virtio_device *device, unsigned index)
{
    if (device->status & VIRTIO_CONFIG_S_NEEDS_RESET)
        return;
    virtio_complain(device, "the guest broke a rule on queue %u; the device waits for a reset",
                    index);
    device->status |= VIRTIO_CONFIG_S_NEEDS_RESET;
    if (device->status & VIRTIO_CONFIG_S_DRIVER_OK)
        virtio_signal_config(device);
}

void virtio_signal_queue(struct virtio_device *device, unsigned index)
{
    struct virtqueue *queue = &device->queues[index];

    if (virtqueue_should_signal(queue))
        raise_interrupt(device, VIRTIO_MMIO_INT_VRING);
    if (queue->broken)
        ask_for_reset(device, index);
}

void virtio_notify_again(struct virtio_device *device, unsigned index)
{
    raise_event(device->notify_fds[index]);
}

static void serve_one(struct virtio_device *device, struct virtqueue *queue,
                      const struct virtqueue_chain *chain, virtio_serve *serve)
{
    int64_t written = serve(device, chain);

    if (written < 0)
        queue->broken = true;
    else
        virtqueue_push(queue, chain->head, (uint32_t)written);
}

void virtio_serve_queue(struct virtio_device *device, unsigned index, unsigned limit,
                        virtio_serve *serve)
{
    struct virtqueue *queue = &device->queues[index];
    struct virtqueue_chain chain;
    unsigned served = 0;
    bool listening = false;

    virtqueue_enable_notification(queue, false);
    while (served < limit) {
        int got = virtqueue_pop(queue, &chain);
        if (got < 0 || (got == 0 && listening))
            break;
        if (got == 0) {
            /* A request added before the driver saw the wish comes without a notification. */
            virtqueue_enable_notification(queue, true);
            listening = true;
            continue;
        }
        listening = false; /* the position the driver was told is now behind us (2.7.10) */
        serve_one(device, queue, &chain, serve);
        served++;
    }
    if (served == limit)
        virtio_notify_again(device, index);
    virtio_signal_queue(device, index);
}

/* How many bytes at `offset` of a space of `length` bytes an access of `size` bytes reaches. */
static size_t common_bytes(size_t length, uint64_t offset, size_t size)
{
    if (offset >= length)
        return 0;
    return size < length - offset ? size : length - offset;
}

void virtio_config_read(const void *config, size_t length, uint64_t offset, uint8_t *data,
                        size_t size)
{
    size_t bytes = common_bytes(length, offset, size);

    if (bytes > 0)
        memcpy(data, (const uint8_t *)config + offset, bytes);
}

void virtio_config_write(void *config, size_t length, uint64_t offset, const uint8_t *data,
                         size_t size)
{
    size_t bytes = common_bytes(length, offset, size);

    if (bytes > 0)
        memcpy((uint8_t *)config + offset, data, bytes);
}
