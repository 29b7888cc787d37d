/* SPDX-License-Identifier: Apache-2.0 */
/* Buffers in pieces (struct iovec), used up from the front as they are moved. */
#ifndef TINE_BASE_VECTOR_H
#define TINE_BASE_VECTOR_H

#include <stddef.h>
#include <stdint.h>
#include <sys/uio.h>

struct vector {
    struct iovec *buffers;
    unsigned count;
};

uint64_t vector_bytes(const struct vector *vector);
/* Drops `bytes` from the front. */
void vector_advance(struct vector *vector, size_t bytes);
/* Moves the first `length` bytes, or as many as `room` buffers of `out` can name, from the front of
 * one vector into another. Returns how many bytes that is. */
uint64_t vector_take(struct vector *from, uint64_t length, struct vector *out, unsigned room);

/* Fill the buffers from a file, or write them to it, as a whole, whatever the kernel splits or
 * interrupts; the vector is used up. A file that ends too early is -EIO. Adds the bytes that were
 * moved to `*done`, on failure too. Return 0 or a negative errno. */
int vector_read(int fd, struct vector *vector, uint64_t offset, uint64_t *done);
int vector_write(int fd, struct vector *vector, uint64_t offset, uint64_t *done);
/* Copies into `bytes`, or fills with zeros, all of the vector, which is used up. */
void vector_copy_out(struct vector *vector, void *bytes);
void vector_zero(struct vector *vector, uint64_t *done);

#endif
