/* SPDX-License-Identifier: Apache-2.0 */
/* A bounded first-in first-out buffer of bytes. Takes memory only while there is something in it.
 */
#ifndef TINE_VMM_DEVICES_VSOCK_BYTE_RING_H
#define TINE_VMM_DEVICES_VSOCK_BYTE_RING_H

#include <stddef.h>
#include <stdint.h>
#include <sys/uio.h>

#define BYTE_RING_SIZE 65536u

struct byte_ring {
    uint8_t *data; /* NULL while empty */
    size_t start, used;
};

size_t byte_ring_free(const struct byte_ring *ring);
/* Appends `length` bytes; -ENOMEM or -ENOSPC, and then nothing was appended. */
int byte_ring_append(struct byte_ring *ring, const void *bytes, size_t length);
/* The bytes from the oldest on, as one or two pieces; returns how many (0: empty). */
unsigned byte_ring_pieces(const struct byte_ring *ring, struct iovec pieces[2]);
/* Drops the oldest `length` bytes. */
void byte_ring_drop(struct byte_ring *ring, size_t length);
void byte_ring_clear(struct byte_ring *ring);

#endif
