/* SPDX-License-Identifier: Apache-2.0 */
/* Saved state of the MMIO transport and its queues. */
#include <errno.h>
#include <linux/virtio_config.h>
#include <linux/virtio_ring.h>
#include <string.h>

#include "vmm/devices/virtio_mmio.h"

#define VIRTIO_MMIO_STATE_VERSION 1u

struct queue_state {
    uint64_t descriptors, driver, device;
    uint16_t size;
    uint16_t next_available, next_used, signalled_used;
    uint8_t ready, broken, event_index, signalled_valid; /* 0 or 1 */
    uint32_t reserved;                                   /* 0 */
};

struct transport_state {
    uint32_t device_id;
    uint32_t queue_count;
    uint64_t acked_features;
    uint32_t status;
    uint32_t interrupt_status;
    uint32_t config_generation;
    uint32_t device_features_select, driver_features_select, queue_select;
    struct queue_state queues[VIRTIO_MAX_QUEUES]; /* all zero behind queue_count */
};

_Static_assert(sizeof(struct queue_state) == 40, "the layout of a saved queue is fixed");
_Static_assert(sizeof(struct transport_state) == 40 + 40 * VIRTIO_MAX_QUEUES,
               "the layout of the saved transport is fixed");

static void save_queue(const struct virtqueue *queue, struct queue_state *state)
{
    *state = (struct queue_state){
        .descriptors = queue->descriptors,
        .driver = queue->driver,
        .device = queue->device,
        .size = queue->size,
        .next_available = queue->next_available,
        .next_used = queue->next_used,
        .signalled_used = queue->signalled_used,
        .ready = queue->ready,
        .broken = queue->broken,
        .event_index = queue->event_index,
        .signalled_valid = queue->signalled_valid,
    };
}

void virtio_mmio_prepare(struct virtio_mmio *transport)
{
    struct virtio_device *device = transport->device;

    if (device->ops->prepare_save)
        device->ops->prepare_save(device);
}

int virtio_mmio_save(struct virtio_mmio *transport, struct state_writer *writer, struct error *err)
{
    virtio_mmio_prepare(transport);
    return virtio_mmio_save_as_is(transport, writer, err);
}

int virtio_mmio_save_as_is(struct virtio_mmio *transport, struct state_writer *writer,
                           struct error *err)
{
    struct virtio_device *device = transport->device;
    struct transport_state state = {
        .device_id = device->ops->device_id,
        .queue_count = device->ops->queue_count,
        .acked_features = device->acked_features,
        .status = device->status,
        .interrupt_status = device->interrupt_status,
        .config_generation = device->config_generation,
        .device_features_select = transport->device_features_select,
        .driver_features_select = transport->driver_features_select,
        .queue_select = transport->queue_select,
    };
    for (unsigned i = 0; i < device->ops->queue_count; i++)
        save_queue(&device->queues[i], &state.queues[i]);
    state_put(writer, STATE_VIRTIO_MMIO, transport->slot, VIRTIO_MMIO_STATE_VERSION, &state,
              sizeof(state));
    if (device->ops->save)
        device->ops->save(device, transport->slot, writer);
    return writer->failed ? error_errno(err, ENOMEM, NULL, "save virtio %s", device->ops->name) : 0;
}

/* ---- load: every value is hostile ---- */

static int corrupt(const struct virtio_mmio *transport, const char *what, struct error *err)
{
    return error_set(err, ERROR_CORRUPT, EBADMSG, "saved state of virtio %s (device %u): %s",
                     transport->device->ops->name, transport->slot, what);
}

/* The values `status` takes on the way of virtio 1.2, section 3.1.1, FAILED and NEEDS_RESET aside.
 */
static bool status_reachable(uint32_t status)
{
    static const uint8_t steps[] = {0, 1, 3, 11, 15};

    if (status & ~0xcfu)
        return false;
    for (size_t i = 0; i < sizeof(steps); i++) {
        if ((status & 0xf) == steps[i])
            return true;
    }
    return false;
}

static const char *check_device(const struct virtio_mmio *transport,
                                const struct transport_state *state)
{
    const struct virtio_ops *ops = transport->device->ops;

    if (state->device_id != ops->device_id)
        return "is of another device type";
    if (state->queue_count != ops->queue_count)
        return "has another number of queues";
    if (!status_reachable(state->status))
        return "has an impossible status";
    if ((state->status & VIRTIO_CONFIG_S_FEATURES_OK) &&
        !virtio_mmio_features_acceptable(transport, state->acked_features))
        return "has features that are not offered";
    if (state->interrupt_status & ~(uint32_t)(VIRTIO_MMIO_INT_VRING | VIRTIO_MMIO_INT_CONFIG))
        return "has an impossible interrupt status";
    return NULL;
}

static bool queue_flags_valid(const struct queue_state *state)
{
    return state->ready <= 1 && state->broken <= 1 && state->event_index <= 1 &&
           state->signalled_valid <= 1 && state->reserved == 0;
}

static void load_queue(struct virtqueue *queue, const struct queue_state *state,
                       const struct guest_memory *memory)
{
    *queue = (struct virtqueue){
        .memory = memory,
        .size = state->size,
        .ready = state->ready,
        .broken = state->broken,
        .event_index = state->event_index,
        .descriptors = state->descriptors,
        .driver = state->driver,
        .device = state->device,
        .next_available = state->next_available,
        .next_used = state->next_used,
        .signalled_used = state->signalled_used,
        .signalled_valid = state->signalled_valid,
    };
}

/* Positions may be any number: what they say about pending requests is checked at every pop. */
static const char *check_queue(const struct virtio_mmio *transport,
                               const struct transport_state *state, unsigned index)
{
    const struct queue_state *saved = &state->queues[index];
    bool event_index = (state->acked_features & (1ull << VIRTIO_RING_F_EVENT_IDX)) != 0;
    static const struct queue_state absent;
    struct virtqueue queue;

    if (index >= state->queue_count)
        return memcmp(saved, &absent, sizeof(absent)) == 0 ? NULL : "has a queue too many";
    if (!queue_flags_valid(saved))
        return "has an impossible queue flag";
    if (!saved->ready)
        return NULL;
    load_queue(&queue, saved, transport->device->memory);
    if (!(state->status & VIRTIO_CONFIG_S_FEATURES_OK) || queue.event_index != event_index)
        return "has a queue that does not go with its status";
    return virtqueue_valid(&queue) ? NULL : "has a queue outside guest memory";
}

static const char *check_state(const struct virtio_mmio *transport,
                               const struct transport_state *state)
{
    const char *wrong = check_device(transport, state);

    for (unsigned i = 0; !wrong && i < VIRTIO_MAX_QUEUES; i++)
        wrong = check_queue(transport, state, i);
    return wrong;
}

static void apply_state(struct virtio_mmio *transport, const struct transport_state *state)
{
    struct virtio_device *device = transport->device;

    device->acked_features = state->acked_features;
    device->status = (uint8_t)state->status;
    device->interrupt_status = state->interrupt_status;
    device->config_generation = state->config_generation;
    transport->device_features_select = state->device_features_select;
    transport->driver_features_select = state->driver_features_select;
    transport->queue_select = state->queue_select;
    for (unsigned i = 0; i < VIRTIO_MAX_QUEUES; i++)
        load_queue(&device->queues[i], &state->queues[i], device->memory);
}

int virtio_mmio_load(struct virtio_mmio *transport, const struct state_reader *reader,
                     struct error *err)
{
    struct virtio_device *device = transport->device;
    struct transport_state state;

    int r = state_get(reader, STATE_VIRTIO_MMIO, transport->slot, VIRTIO_MMIO_STATE_VERSION, &state,
                      sizeof(state), err);
    if (r < 0)
        return r;
    const char *wrong = check_state(transport, &state);
    if (wrong)
        return corrupt(transport, wrong, err);
    apply_state(transport, &state);
    if (device->ops->load) {
        r = device->ops->load(device, transport->slot, reader, err);
        if (r < 0)
            return r;
    }
    if (virtio_device_active(device) && device->ops->activate)
        device->ops->activate(device);
    return 0;
}
