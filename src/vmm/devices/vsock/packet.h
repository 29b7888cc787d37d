/* SPDX-License-Identifier: Apache-2.0 */
/* Packets of the socket device (virtio 1.2, section 5.10.6): a header of 44 bytes, then data. */
#ifndef TINE_VMM_DEVICES_VSOCK_PACKET_H
#define TINE_VMM_DEVICES_VSOCK_PACKET_H

#include <linux/virtio_vsock.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/uio.h>

#include "vmm/devices/virtqueue.h"

#define VSOCK_HEADER_SIZE 44u
#define VSOCK_HOST_CID    2u

/* Little-endian in memory, as this host is. */
_Static_assert(sizeof(struct virtio_vsock_hdr) == VSOCK_HEADER_SIZE, "the header is packed");

/* Reads the header of a packet from the guest, once. False if the chain is too short for it or for
 * the data that it announces. */
bool vsock_packet_read(const struct virtqueue_chain *chain, struct virtio_vsock_hdr *header);
/* Where the data of a packet lies: the bytes [skip, skip + length) of `buffers`. Returns the number
 * of pieces put into `out`, which has room for as many as there are buffers. */
unsigned vsock_packet_pieces(const struct iovec *buffers, unsigned count, size_t skip,
                             size_t length, struct iovec *out);

#endif
