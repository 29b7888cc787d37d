/* SPDX-License-Identifier: Apache-2.0 */
#include "echo_device.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <errno.h>
#include <stdlib.h>

#include "base/cleanup.h"
#include "virtio_guest.h"

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

int echo_setup(void **state)
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

int echo_teardown(void **state)
{
    guest_destroy(&((struct fixture *)*state)->guest);
    return 0;
}

uint32_t status(struct guest *guest)
{
    return guest_get(guest, VIRTIO_MMIO_STATUS);
}
