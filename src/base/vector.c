/* SPDX-License-Identifier: Apache-2.0 */
#include "base/vector.h"

#include <errno.h>
#include <string.h>

uint64_t vector_bytes(const struct vector *vector)
{
    uint64_t length = 0;
    for (unsigned i = 0; i < vector->count; i++)
        length += vector->buffers[i].iov_len;
    return length;
}

void vector_advance(struct vector *vector, size_t bytes)
{
    while (vector->count > 0 && bytes >= vector->buffers->iov_len) {
        bytes -= vector->buffers->iov_len;
        vector->buffers++;
        vector->count--;
    }
    if (vector->count > 0) {
        vector->buffers->iov_base = (char *)vector->buffers->iov_base + bytes;
        vector->buffers->iov_len -= bytes;
    }
}

uint64_t vector_take(struct vector *from, uint64_t length, struct vector *out, unsigned room)
{
    uint64_t taken = 0;
    out->count = 0;
    while (from->count > 0 && taken < length && out->count < room) {
        size_t piece = from->buffers->iov_len;
        if (piece > length - taken)
            piece = (size_t)(length - taken);
        out->buffers[out->count++] =
            (struct iovec){.iov_base = from->buffers->iov_base, .iov_len = piece};
        taken += piece;
        vector_advance(from, piece);
    }
    return taken;
}

typedef ssize_t transfer_call(int fd, const struct iovec *buffers, int count, off_t offset);

static int transfer(int fd, transfer_call *call, struct vector *vector, uint64_t offset,
                    uint64_t *done)
{
    vector_advance(vector, 0); /* empty buffers at the front */
    while (vector->count > 0) {
        ssize_t moved = call(fd, vector->buffers, (int)vector->count, (off_t)offset);
        if (moved < 0 && errno == EINTR)
            continue;
        if (moved < 0)
            return -errno;
        if (moved == 0)
            return -EIO;
        offset += (uint64_t)moved;
        *done += (uint64_t)moved;
        vector_advance(vector, (size_t)moved);
    }
    return 0;
}

int vector_read(int fd, struct vector *vector, uint64_t offset, uint64_t *done)
{
    return transfer(fd, preadv, vector, offset, done);
}

int vector_write(int fd, struct vector *vector, uint64_t offset, uint64_t *done)
{
    return transfer(fd, pwritev, vector, offset, done);
}

void vector_copy_out(struct vector *vector, void *bytes)
{
    char *to = bytes;
    for (; vector->count > 0; vector->buffers++, vector->count--) {
        memcpy(to, vector->buffers->iov_base, vector->buffers->iov_len);
        to += vector->buffers->iov_len;
    }
}

void vector_zero(struct vector *vector, uint64_t *done)
{
    for (; vector->count > 0; vector->buffers++, vector->count--) {
        memset(vector->buffers->iov_base, 0, vector->buffers->iov_len);
        *done += vector->buffers->iov_len;
    }
}
