/* SPDX-License-Identifier: Apache-2.0 */
/* Split virtqueues (virtio 1.2, section 2.7), the device's side. The rings and descriptors lie in
 * guest memory and are hostile: every index is bounded, chains are limited to the queue size,
 * values are read once. A queue that breaks a rule is marked broken and stays silent until reset.
 */
#ifndef TINE_VMM_DEVICES_VIRTQUEUE_H
#define TINE_VMM_DEVICES_VIRTQUEUE_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/uio.h>

#include "vmm/memory.h"

#define VIRTQUEUE_MAX_SIZE 256u

struct virtqueue {
    const struct guest_memory *memory;
    uint16_t size; /* chosen by the driver; a power of two up to VIRTQUEUE_MAX_SIZE */
    bool ready;
    bool broken;                          /* the driver broke a rule */
    bool event_index;                     /* VIRTIO_F_EVENT_IDX was accepted */
    uint64_t descriptors, driver, device; /* guest-physical: table, available ring, used ring */
    uint16_t next_available;              /* the device's position in the available ring */
    uint16_t next_used;                   /* its position in the used ring */
    uint16_t signalled_used;              /* next_used when the driver was last interrupted */
    bool signalled_valid;
};

/* One request: the buffers the device may read, then those it may write. Points into guest memory;
 * valid until the chain is returned with virtqueue_push(). */
struct virtqueue_chain {
    uint16_t head;
    unsigned readable_count, writable_count;
    uint64_t readable_bytes, writable_bytes;
    struct iovec readable[VIRTQUEUE_MAX_SIZE];
    struct iovec writable[VIRTQUEUE_MAX_SIZE];
};

/* True if addresses and size are usable: aligned, inside guest memory. Checked when the driver sets
 * the queue ready, and after a load. */
bool virtqueue_valid(const struct virtqueue *queue);

/* Takes the next request: 1 and a filled chain, 0 if there is none, -EPROTO if the queue is (now)
 * broken. */
int virtqueue_pop(struct virtqueue *queue, struct virtqueue_chain *chain);
/* Puts a request back that could not be served yet: the next pop returns it again. Only the last
 * popped one. */
void virtqueue_undo_pop(struct virtqueue *queue);
/* Returns a request as used with `written` bytes in its writable buffers. */
void virtqueue_push(struct virtqueue *queue, uint16_t head, uint32_t written);
/* True if the driver wants an interrupt for what was pushed since the last call (2.7.7, 2.7.10). */
bool virtqueue_should_signal(struct virtqueue *queue);
/* Asks the driver for (or spares it) notifications about new available buffers. After enabling, the
 * caller looks once more for requests. */
void virtqueue_enable_notification(struct virtqueue *queue, bool enable);

/* Copies between a chain's buffers and flat memory, from byte `offset` of the readable (or
 * writable) part; returns how many bytes were there to copy, at most `length`. */
size_t virtqueue_read(const struct virtqueue_chain *chain, uint64_t offset, void *buffer,
                      size_t length);
size_t virtqueue_write(const struct virtqueue_chain *chain, uint64_t offset, const void *buffer,
                       size_t length);

#endif
