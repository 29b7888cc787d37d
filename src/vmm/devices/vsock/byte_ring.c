/* SPDX-License-Identifier: Apache-2.0 */
#include "vmm/devices/vsock/byte_ring.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

size_t byte_ring_free(const struct byte_ring *ring)
{
    return BYTE_RING_SIZE - ring->used;
}

int byte_ring_append(struct byte_ring *ring, const void *bytes, size_t length)
{
    if (length > byte_ring_free(ring))
        return -ENOSPC;
    if (length == 0)
        return 0;
    if (!ring->data)
        ring->data = malloc(BYTE_RING_SIZE);
    if (!ring->data)
        return -ENOMEM;
    size_t end = (ring->start + ring->used) % BYTE_RING_SIZE;
    size_t first = BYTE_RING_SIZE - end < length ? BYTE_RING_SIZE - end : length;
    memcpy(ring->data + end, bytes, first);
    memcpy(ring->data, (const uint8_t *)bytes + first, length - first);
    ring->used += length;
    return 0;
}

unsigned byte_ring_pieces(const struct byte_ring *ring, struct iovec pieces[2])
{
    if (ring->used == 0)
        return 0;
    size_t first = BYTE_RING_SIZE - ring->start;
    if (first > ring->used)
        first = ring->used;
    pieces[0] = (struct iovec){.iov_base = ring->data + ring->start, .iov_len = first};
    pieces[1] = (struct iovec){.iov_base = ring->data, .iov_len = ring->used - first};
    return pieces[1].iov_len > 0 ? 2 : 1;
}

void byte_ring_drop(struct byte_ring *ring, size_t length)
{
    ring->start = (ring->start + length) % BYTE_RING_SIZE;
    ring->used -= length;
    if (ring->used == 0)
        byte_ring_clear(ring);
}

void byte_ring_clear(struct byte_ring *ring)
{
    free(ring->data);
    *ring = (struct byte_ring){0};
}
