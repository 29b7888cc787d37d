/* SPDX-License-Identifier: Apache-2.0 */
#include "vmm/devices/virtqueue.h"

#include <errno.h>
#include <linux/virtio_ring.h>
#include <stddef.h>
#include <string.h>

#include "base/cleanup.h"

/* Sizes of the three areas (virtio 1.2, section 2.7): the event fields at the end of both rings are
 * counted whether VIRTIO_F_EVENT_IDX was accepted or not. */
static uint64_t descriptors_bytes(uint16_t size)
{
    return (uint64_t)size * sizeof(struct vring_desc);
}

static uint64_t driver_bytes(uint16_t size)
{
    return 6 + 2 * (uint64_t)size;
}

static uint64_t device_bytes(uint16_t size)
{
    return 6 + sizeof(struct vring_used_elem) * (uint64_t)size;
}

static bool area_valid(const struct guest_memory *memory, uint64_t gpa, uint64_t length,
                       uint64_t alignment)
{
    return gpa % alignment == 0 && guest_view(memory, gpa, length) != NULL;
}

bool virtqueue_valid(const struct virtqueue *queue)
{
    uint16_t size = queue->size;

    if (size == 0 || size > VIRTQUEUE_MAX_SIZE || (size & (size - 1)) != 0)
        return false;
    return area_valid(queue->memory, queue->descriptors, descriptors_bytes(size), 16) &&
           area_valid(queue->memory, queue->driver, driver_bytes(size), 2) &&
           area_valid(queue->memory, queue->device, device_bytes(size), 4);
}

static int break_queue(struct virtqueue *queue)
{
    queue->broken = true;
    return -EPROTO;
}

/* The two-byte field at `offset` of the driver's ring, which we read, or of the device's, which we
 * write. The area was checked when the queue became ready; it is looked up anew every time so that
 * no pointer outlives a change of the memory map, and every write is noticed. */
static const uint16_t *driver_field(struct virtqueue *queue, uint64_t offset)
{
    const uint16_t *field = guest_view(queue->memory, queue->driver + offset, sizeof(*field));

    if (!field)
        queue->broken = true;
    return field;
}

static uint16_t *device_field(struct virtqueue *queue, uint64_t offset)
{
    uint16_t *field = guest_pointer(queue->memory, queue->device + offset, sizeof(*field));

    if (!field)
        queue->broken = true;
    return field;
}

static const uint16_t *available_flags(struct virtqueue *queue)
{
    return driver_field(queue, offsetof(struct vring_avail, flags));
}

static const uint16_t *available_index(struct virtqueue *queue)
{
    return driver_field(queue, offsetof(struct vring_avail, idx));
}

static const uint16_t *available_slot(struct virtqueue *queue, uint16_t position)
{
    uint64_t slot = position & (uint16_t)(queue->size - 1);

    return driver_field(queue, offsetof(struct vring_avail, ring) + 2 * slot);
}

static const uint16_t *used_event(struct virtqueue *queue)
{
    return driver_field(queue, driver_bytes(queue->size) - 2);
}

static uint16_t *used_flags(struct virtqueue *queue)
{
    return device_field(queue, offsetof(struct vring_used, flags));
}

static uint16_t *used_index(struct virtqueue *queue)
{
    return device_field(queue, offsetof(struct vring_used, idx));
}

static uint16_t *available_event(struct virtqueue *queue)
{
    return device_field(queue, device_bytes(queue->size) - 2);
}

static bool usable(const struct virtqueue *queue)
{
    return queue->ready && !queue->broken;
}

/* Reads descriptor `index` once, field by field: the guest may change it meanwhile. */
static int read_descriptor(const struct virtqueue *queue, uint16_t index, struct vring_desc *out)
{
    if (index >= queue->size)
        return -EPROTO;

    const struct vring_desc *in =
        guest_view(queue->memory, queue->descriptors + (uint64_t)index * sizeof(*in), sizeof(*in));
    if (!in)
        return -EPROTO;
    out->addr = __atomic_load_n(&in->addr, __ATOMIC_RELAXED);
    out->len = __atomic_load_n(&in->len, __ATOMIC_RELAXED);
    out->flags = __atomic_load_n(&in->flags, __ATOMIC_RELAXED);
    out->next = __atomic_load_n(&in->next, __ATOMIC_RELAXED);
    return 0;
}

/* Adds one buffer. Readable ones come first (2.7.4.2), and the whole chain stays below 4 GiB
 * (2.7.4.1), which is also what the 32-bit used length can tell. */
static int add_buffer(const struct virtqueue *queue, struct virtqueue_chain *chain,
                      const struct vring_desc *descriptor)
{
    bool writable = (descriptor->flags & VRING_DESC_F_WRITE) != 0;
    const void *host = writable ? guest_pointer(queue->memory, descriptor->addr, descriptor->len)
                                : guest_view(queue->memory, descriptor->addr, descriptor->len);
    uint64_t total = chain->readable_bytes + chain->writable_bytes + descriptor->len;

    if (descriptor->len == 0 || !host || total > UINT32_MAX)
        return -EPROTO;

    struct iovec buffer = {.iov_base = (void *)(uintptr_t)host, .iov_len = descriptor->len};
    if (writable) {
        chain->writable[chain->writable_count++] = buffer;
        chain->writable_bytes += descriptor->len;
        return 0;
    }
    if (chain->writable_count > 0)
        return -EPROTO;
    chain->readable[chain->readable_count++] = buffer;
    chain->readable_bytes += descriptor->len;
    return 0;
}

/* Follows a chain from its head. More links than the queue has descriptors are a loop. Indirect
 * tables are not offered, so the driver must not use one (2.7.5.3.1). */
static int walk_chain(const struct virtqueue *queue, uint16_t head, struct virtqueue_chain *chain)
{
    struct vring_desc descriptor = {.next = head};

    for (unsigned links = 0; links < queue->size; links++) {
        if (read_descriptor(queue, descriptor.next, &descriptor) < 0 ||
            (descriptor.flags & VRING_DESC_F_INDIRECT) != 0 ||
            add_buffer(queue, chain, &descriptor) < 0)
            return -EPROTO;
        if (!(descriptor.flags & VRING_DESC_F_NEXT))
            return 0;
    }
    return -EPROTO;
}

int virtqueue_pop(struct virtqueue *queue, struct virtqueue_chain *chain)
{
    if (queue->broken)
        return -EPROTO;
    if (!queue->ready)
        return 0;

    const uint16_t *index = available_index(queue);
    if (!index)
        return -EPROTO;
    /* Acquire: the slots and descriptors below the index are read after it (2.7.13.3). */
    uint16_t pending = (uint16_t)(__atomic_load_n(index, __ATOMIC_ACQUIRE) - queue->next_available);
    if (pending == 0)
        return 0;
    if (pending > queue->size)
        return break_queue(queue);

    const uint16_t *slot = available_slot(queue, queue->next_available);
    if (!slot)
        return -EPROTO;
    chain->head = __atomic_load_n(slot, __ATOMIC_RELAXED);
    chain->readable_count = chain->writable_count = 0;
    chain->readable_bytes = chain->writable_bytes = 0;
    if (walk_chain(queue, chain->head, chain) < 0)
        return break_queue(queue);
    queue->next_available++;
    return 1;
}

void virtqueue_undo_pop(struct virtqueue *queue)
{
    queue->next_available--;
}

void virtqueue_push(struct virtqueue *queue, uint16_t head, uint32_t written)
{
    if (!usable(queue))
        return;

    uint64_t slot = queue->next_used & (uint16_t)(queue->size - 1);
    uint64_t offset = offsetof(struct vring_used, ring) + slot * sizeof(struct vring_used_elem);
    struct vring_used_elem *element =
        guest_pointer(queue->memory, queue->device + offset, sizeof(*element));
    uint16_t *index = used_index(queue);
    if (!element || !index) {
        queue->broken = true;
        return;
    }

    __atomic_store_n(&element->id, head, __ATOMIC_RELAXED);
    __atomic_store_n(&element->len, written, __ATOMIC_RELAXED);
    queue->next_used++;
    /* Release: buffers and element are visible before the index that announces them (2.7.8.2). */
    __atomic_store_n(index, queue->next_used, __ATOMIC_RELEASE);
}

/* 2.7.7: did the used index pass `event` on its way from `before` to `now`? Sixteen-bit wrap. */
static bool event_passed(uint16_t event, uint16_t now, uint16_t before)
{
    return (uint16_t)(now - event - 1) < (uint16_t)(now - before);
}

bool virtqueue_should_signal(struct virtqueue *queue)
{
    uint16_t before = queue->signalled_used, now = queue->next_used;
    bool valid = queue->signalled_valid;

    if (!usable(queue) || before == now)
        return false;
    queue->signalled_used = now;
    queue->signalled_valid = true;

    /* Full fence: the index we published must be visible before we read whether the driver sleeps,
     * or both sides could wait for each other (2.7.7.2). */
    __atomic_thread_fence(__ATOMIC_SEQ_CST);
    const uint16_t *field = queue->event_index ? used_event(queue) : available_flags(queue);
    if (!field)
        return false;
    uint16_t value = __atomic_load_n(field, __ATOMIC_RELAXED);
    if (!queue->event_index)
        return !(value & VRING_AVAIL_F_NO_INTERRUPT);
    return !valid || event_passed(value, now, before);
}

void virtqueue_enable_notification(struct virtqueue *queue, bool enable)
{
    if (!usable(queue))
        return;
    if (queue->event_index) {
        /* To be spared notifications it is enough not to move the event: the driver's index passes
         * the old one once in 65536 requests (2.7.10). */
        uint16_t *event = enable ? available_event(queue) : NULL;
        if (event)
            __atomic_store_n(event, queue->next_available, __ATOMIC_RELAXED);
    } else {
        uint16_t *flags = used_flags(queue);
        if (flags)
            __atomic_store_n(flags, enable ? 0 : VRING_USED_F_NO_NOTIFY, __ATOMIC_RELAXED);
    }
    /* The caller's second look must not be done before the driver can see the wish. */
    __atomic_thread_fence(__ATOMIC_SEQ_CST);
}

/* Calls for each piece of [offset, offset + length) that lies in the buffers. */
static size_t copy_pieces(const struct iovec *buffers, unsigned count, uint64_t offset,
                          uint8_t *flat, size_t length, bool to_buffers)
{
    size_t done = 0;

    for (unsigned i = 0; i < count && done < length; i++) {
        if (offset >= buffers[i].iov_len) {
            offset -= buffers[i].iov_len;
            continue;
        }
        size_t piece = buffers[i].iov_len - offset;
        if (piece > length - done)
            piece = length - done;
        uint8_t *guest = (uint8_t *)buffers[i].iov_base + offset;
        memcpy(to_buffers ? guest : flat + done, to_buffers ? flat + done : guest, piece);
        done += piece;
        offset = 0;
    }
    return done;
}

size_t virtqueue_read(const struct virtqueue_chain *chain, uint64_t offset, void *buffer,
                      size_t length)
{
    return copy_pieces(chain->readable, chain->readable_count, offset, buffer, length, false);
}

size_t virtqueue_write(const struct virtqueue_chain *chain, uint64_t offset, const void *buffer,
                       size_t length)
{
    return copy_pieces(chain->writable, chain->writable_count, offset, (uint8_t *)(uintptr_t)buffer,
                       length, true);
}
