/* SPDX-License-Identifier: Apache-2.0 */
#include "vmm/devices/vsock/packet.h"

bool vsock_packet_read(const struct virtqueue_chain *chain, struct virtio_vsock_hdr *header)
{
    if (virtqueue_read(chain, 0, header, sizeof(*header)) != sizeof(*header))
        return false;
    return header->len <= chain->readable_bytes - sizeof(*header);
}

unsigned vsock_packet_pieces(const struct iovec *buffers, unsigned count, size_t skip,
                             size_t length, struct iovec *out)
{
    unsigned pieces = 0;
    for (unsigned i = 0; i < count && length > 0; i++) {
        if (skip >= buffers[i].iov_len) {
            skip -= buffers[i].iov_len;
            continue;
        }
        size_t piece = buffers[i].iov_len - skip;
        if (piece > length)
            piece = length;
        out[pieces++] =
            (struct iovec){.iov_base = (char *)buffers[i].iov_base + skip, .iov_len = piece};
        length -= piece;
        skip = 0;
    }
    return pieces;
}
