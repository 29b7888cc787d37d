/* SPDX-License-Identifier: Apache-2.0 */
/* The transport-reset event (virtio 1.2, section 5.10.6.7): after a snapshot, in the source as in
 * every copy, the connections of before are gone. The event is put into guest memory before that is
 * saved, so copies find it in their event queue. */
#include <linux/virtio_mmio.h>
#include <linux/virtio_ring.h>

#include "vmm/devices/vsock/vsock.h"

/* How many buffers the driver has ever put into the event queue, modulo 2^16. */
static uint16_t available_index(const struct vsock *vsock)
{
    const struct virtqueue *queue = &vsock->device.queues[VSOCK_EVENT];
    const uint16_t *index = guest_view(
        queue->memory, queue->driver + offsetof(struct vring_avail, idx), sizeof(*index));
    return index ? __atomic_load_n(index, __ATOMIC_ACQUIRE) : 0;
}

/* Asks the driver to notify about the next buffer it adds, not about the next we could take: there
 * are always some left. */
static void listen_for_refill(struct vsock *vsock)
{
    struct virtqueue *queue = &vsock->device.queues[VSOCK_EVENT];
    uint16_t next = queue->next_available;
    queue->next_available = vsock->event_available;
    virtqueue_enable_notification(queue, true);
    queue->next_available = next;
}

static void send_event(struct vsock *vsock)
{
    static const struct virtio_vsock_event event = {.id = VIRTIO_VSOCK_EVENT_TRANSPORT_RESET};
    struct virtqueue *queue = &vsock->device.queues[VSOCK_EVENT];
    struct virtqueue_chain chain;
    virtqueue_enable_notification(queue, true);
    if (virtqueue_pop(queue, &chain) != 1)
        return;
    size_t written = virtqueue_write(&chain, 0, &event, sizeof(event));
    vsock->event_available = available_index(vsock);
    virtqueue_push(queue, chain.head, (uint32_t)written);
    if (written < sizeof(event)) {
        virtio_complain(&vsock->device, "an event buffer of %zu bytes", written);
        return;
    }
    vsock->reset_stage = RESET_SENT;
    listen_for_refill(vsock);
    /* Whether or not the driver wants an interrupt now: when the VM resumes, here or as a copy, the
     * transport raises what is set in InterruptStatus. */
    vsock->device.interrupt_status |= VIRTIO_MMIO_INT_VRING;
    virtio_signal_queue(&vsock->device, VSOCK_EVENT);
}

void vsock_event_advance(struct vsock *vsock)
{
    if (vsock->reset_stage == RESET_SENT && available_index(vsock) != vsock->event_available)
        vsock->reset_stage = RESET_NONE;
    if (vsock->reset_stage == RESET_WANTED)
        send_event(vsock);
}

void vsock_event_begin(struct vsock *vsock)
{
    vsock_event_advance(vsock);
    /* An event that the guest has not seen yet serves for this loss too. */
    if (vsock->reset_stage == RESET_NONE)
        vsock->reset_stage = RESET_WANTED;
    vsock_event_advance(vsock);
}
