/* SPDX-License-Identifier: Apache-2.0 */
/* Registers and initialisation order of virtio over MMIO (virtio 1.2, sections 3.1 and 4.2.2). */
#include <linux/virtio_config.h>
#include <linux/virtio_ring.h>
#include <stddef.h>

#include "base/cleanup.h"
#include "vmm/devices/virtio_mmio.h"

#define MMIO_MAGIC   0x74726976u /* "virt" */
#define MMIO_VERSION 2u
#define MMIO_VENDOR  0u

/* Status values of an orderly initialisation (3.1.1): each one is reached from the one before. */
#define STATUS_ACKNOWLEDGED VIRTIO_CONFIG_S_ACKNOWLEDGE
#define STATUS_DRIVER       (STATUS_ACKNOWLEDGED | VIRTIO_CONFIG_S_DRIVER)
#define STATUS_FEATURES_OK  (STATUS_DRIVER | VIRTIO_CONFIG_S_FEATURES_OK)
#define STATUS_DRIVER_OK    (STATUS_FEATURES_OK | VIRTIO_CONFIG_S_DRIVER_OK)

uint64_t virtio_mmio_offered(const struct virtio_mmio *transport)
{
    const struct virtio_device *device = transport->device;

    return device->ops->features(device) | (1ull << VIRTIO_F_VERSION_1) |
           (1ull << VIRTIO_RING_F_EVENT_IDX);
}

bool virtio_mmio_features_acceptable(const struct virtio_mmio *transport, uint64_t features)
{
    return (features & ~virtio_mmio_offered(transport)) == 0 &&
           (features & (1ull << VIRTIO_F_VERSION_1)) != 0;
}

/* The queue QueueSel names, or NULL. */
static struct virtqueue *selected_queue(struct virtio_mmio *transport)
{
    struct virtio_device *device = transport->device;

    if (transport->queue_select >= device->ops->queue_count)
        return NULL;
    return &device->queues[transport->queue_select];
}

/* ---- reset and status ---- */

static void reset_device(struct virtio_mmio *transport)
{
    struct virtio_device *device = transport->device;

    device->status = 0;
    if (device->ops->reset)
        device->ops->reset(device);
    for (unsigned i = 0; i < VIRTIO_MAX_QUEUES; i++)
        device->queues[i] = (struct virtqueue){.memory = device->memory};
    device->acked_features = 0;
    device->interrupt_status = 0;
    device->config_generation = 0;
    transport->device_features_select = 0;
    transport->driver_features_select = 0;
    transport->queue_select = 0;
}

static void accept_features(struct virtio_mmio *transport)
{
    struct virtio_device *device = transport->device;

    /* 3.1.1 step 6: a set we can't work with is told by leaving FEATURES_OK clear. */
    if (virtio_mmio_features_acceptable(transport, device->acked_features))
        device->status |= VIRTIO_CONFIG_S_FEATURES_OK;
    else
        virtio_complain(device, "features %#llx are not a subset of those offered with VERSION_1",
                        (unsigned long long)device->acked_features);
}

static void driver_ok(struct virtio_mmio *transport)
{
    struct virtio_device *device = transport->device;

    device->status |= VIRTIO_CONFIG_S_DRIVER_OK;
    if (device->ops->activate)
        device->ops->activate(device);
}

static void write_status(struct virtio_mmio *transport, uint32_t value)
{
    struct virtio_device *device = transport->device;
    uint8_t now = device->status & (uint8_t)~VIRTIO_CONFIG_S_NEEDS_RESET;
    uint32_t wanted = value & ~(uint32_t)VIRTIO_CONFIG_S_NEEDS_RESET;

    if (value == 0) {
        reset_device(transport);
        return;
    }
    if (wanted == now || (now & VIRTIO_CONFIG_S_FAILED))
        return;
    if (wanted & VIRTIO_CONFIG_S_FAILED)
        device->status |= VIRTIO_CONFIG_S_FAILED;
    else if ((now == 0 && wanted == STATUS_ACKNOWLEDGED) ||
             (now == STATUS_ACKNOWLEDGED && wanted == STATUS_DRIVER))
        device->status = (uint8_t)wanted;
    else if (now == STATUS_DRIVER && wanted == STATUS_FEATURES_OK)
        accept_features(transport);
    else if (now == STATUS_FEATURES_OK && wanted == STATUS_DRIVER_OK)
        driver_ok(transport);
    else
        virtio_complain(device, "status %#x after %#x is out of order and ignored", value,
                        device->status);
}

/* ---- registers written ---- */

static void select_device_features(struct virtio_mmio *transport, uint32_t value)
{
    transport->device_features_select = value;
}

static void select_driver_features(struct virtio_mmio *transport, uint32_t value)
{
    transport->driver_features_select = value;
}

/* 2.2.1: after FEATURES_OK the driver's choice stands. */
static void write_driver_features(struct virtio_mmio *transport, uint32_t value)
{
    struct virtio_device *device = transport->device;
    uint32_t half = transport->driver_features_select;

    if (device->status != STATUS_DRIVER)
        return;
    /* A feature beyond the 64 we know of is none that we offer: remember it as one bit that makes
     * the choice unacceptable. */
    if (half > 1) {
        device->acked_features |= value != 0 ? 1ull << 63 : 0;
        return;
    }
    unsigned shift = half * 32;
    device->acked_features &= ~(0xffffffffull << shift);
    device->acked_features |= (uint64_t)value << shift;
}

static void select_queue(struct virtio_mmio *transport, uint32_t value)
{
    transport->queue_select = value;
}

/* The queue that may be configured now, or NULL: after FEATURES_OK, before DRIVER_OK (3.1.1), and
 * while QueueReady is zero (4.2.2.2). */
static struct virtqueue *configurable_queue(struct virtio_mmio *transport)
{
    struct virtqueue *queue = selected_queue(transport);

    if (!queue || transport->device->status != STATUS_FEATURES_OK || queue->ready)
        return NULL;
    return queue;
}

/* A size that is no power of two up to the maximum becomes 0, which virtqueue_valid() refuses. */
static void write_queue_size(struct virtio_mmio *transport, uint32_t value)
{
    struct virtqueue *queue = configurable_queue(transport);

    if (queue)
        queue->size = value <= VIRTQUEUE_MAX_SIZE ? (uint16_t)value : 0;
}

static void start_queue(struct virtio_mmio *transport, struct virtqueue *queue)
{
    struct virtio_device *device = transport->device;

    if (!virtqueue_valid(queue)) {
        virtio_complain(device, "queue %u has a bad size or lies outside guest memory",
                        transport->queue_select);
        return;
    }
    queue->event_index = (device->acked_features & (1ull << VIRTIO_RING_F_EVENT_IDX)) != 0;
    queue->ready = true;
}

/* 4.2.2.2: the driver may stop a queue at any time; what it set stays until it sets anew. */
static void stop_queue(struct virtqueue *queue)
{
    queue->ready = false;
    queue->next_available = queue->next_used = queue->signalled_used = 0;
    queue->signalled_valid = false;
}

static void write_queue_ready(struct virtio_mmio *transport, uint32_t value)
{
    struct virtqueue *queue = selected_queue(transport);

    if (queue && !(value & 1))
        stop_queue(queue);
    else if (configurable_queue(transport))
        start_queue(transport, queue);
}

static void write_queue_notify(struct virtio_mmio *transport, uint32_t value)
{
    if (value < transport->device->ops->queue_count)
        virtio_notify_again(transport->device, value);
}

static void write_interrupt_ack(struct virtio_mmio *transport, uint32_t value)
{
    transport->device->interrupt_status &= ~value;
}

static void set_half(uint64_t *address, unsigned shift, uint32_t value)
{
    *address = (*address & ~(0xffffffffull << shift)) | (uint64_t)value << shift;
}

/* The six halves of the three queue addresses. Returns false if `offset` is none of them. */
static bool write_queue_address(struct virtio_mmio *transport, uint64_t offset, uint32_t value)
{
    static const struct {
        uint16_t offset, field;
        unsigned shift;
    } halves[] = {
        {VIRTIO_MMIO_QUEUE_DESC_LOW, offsetof(struct virtqueue, descriptors), 0},
        {VIRTIO_MMIO_QUEUE_DESC_HIGH, offsetof(struct virtqueue, descriptors), 32},
        {VIRTIO_MMIO_QUEUE_AVAIL_LOW, offsetof(struct virtqueue, driver), 0},
        {VIRTIO_MMIO_QUEUE_AVAIL_HIGH, offsetof(struct virtqueue, driver), 32},
        {VIRTIO_MMIO_QUEUE_USED_LOW, offsetof(struct virtqueue, device), 0},
        {VIRTIO_MMIO_QUEUE_USED_HIGH, offsetof(struct virtqueue, device), 32},
    };

    for (size_t i = 0; i < ARRAY_SIZE(halves); i++) {
        if (halves[i].offset != offset)
            continue;
        struct virtqueue *queue = configurable_queue(transport);
        if (queue)
            set_half((uint64_t *)(void *)((char *)queue + halves[i].field), halves[i].shift, value);
        return true;
    }
    return false;
}

void virtio_mmio_write_register(struct virtio_mmio *transport, uint64_t offset, uint32_t value)
{
    static const struct {
        uint64_t offset;
        void (*write)(struct virtio_mmio *transport, uint32_t value);
    } registers[] = {
        {VIRTIO_MMIO_DEVICE_FEATURES_SEL, select_device_features},
        {VIRTIO_MMIO_DRIVER_FEATURES, write_driver_features},
        {VIRTIO_MMIO_DRIVER_FEATURES_SEL, select_driver_features},
        {VIRTIO_MMIO_QUEUE_SEL, select_queue},
        {VIRTIO_MMIO_QUEUE_NUM, write_queue_size},
        {VIRTIO_MMIO_QUEUE_READY, write_queue_ready},
        {VIRTIO_MMIO_QUEUE_NOTIFY, write_queue_notify},
        {VIRTIO_MMIO_INTERRUPT_ACK, write_interrupt_ack},
        {VIRTIO_MMIO_STATUS, write_status},
    };

    for (size_t i = 0; i < ARRAY_SIZE(registers); i++) {
        if (registers[i].offset == offset) {
            registers[i].write(transport, value);
            return;
        }
    }
    (void)write_queue_address(transport, offset, value); /* other registers are read-only */
}

/* ---- registers read ---- */

static uint32_t read_device_features(struct virtio_mmio *transport)
{
    uint32_t half = transport->device_features_select;

    return half > 1 ? 0 : (uint32_t)(virtio_mmio_offered(transport) >> (half * 32));
}

uint32_t virtio_mmio_read_register(struct virtio_mmio *transport, uint64_t offset)
{
    const struct virtio_device *device = transport->device;
    const struct virtqueue *queue = selected_queue(transport);

    switch (offset) {
    case VIRTIO_MMIO_MAGIC_VALUE:
        return MMIO_MAGIC;
    case VIRTIO_MMIO_VERSION:
        return MMIO_VERSION;
    case VIRTIO_MMIO_DEVICE_ID:
        return device->ops->device_id;
    case VIRTIO_MMIO_VENDOR_ID:
        return MMIO_VENDOR;
    case VIRTIO_MMIO_DEVICE_FEATURES:
        return read_device_features(transport);
    case VIRTIO_MMIO_QUEUE_NUM_MAX:
        return queue ? VIRTQUEUE_MAX_SIZE : 0;
    case VIRTIO_MMIO_QUEUE_READY:
        return queue && queue->ready;
    case VIRTIO_MMIO_INTERRUPT_STATUS:
        return device->interrupt_status;
    case VIRTIO_MMIO_STATUS:
        return device->status;
    case VIRTIO_MMIO_SHM_LEN_LOW: /* no shared memory: length and base are all ones (4.2.2) */
    case VIRTIO_MMIO_SHM_LEN_HIGH:
    case VIRTIO_MMIO_SHM_BASE_LOW:
    case VIRTIO_MMIO_SHM_BASE_HIGH:
        return UINT32_MAX;
    case VIRTIO_MMIO_CONFIG_GENERATION:
        return device->config_generation;
    default: /* write-only or reserved */
        return 0;
    }
}
