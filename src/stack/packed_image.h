/* SPDX-License-Identifier: Apache-2.0 */
/* A compressed image (compression.h) that is read chunk by chunk, in any order.
 *
 * The file is one frame of its format for every 256 KiB of the image (fewer at the end), in their
 * order and one right behind the other, and then the index: a frame that both formats' own tools
 * skip. It has, for each chunk, the length of its frame, a bit for every page of zeros, and the
 * checksum of its raw bytes; at its end are the image's size, the format's version and checksums.
 * Nothing is trusted before it is checked: frames can neither overlap nor lie outside the file,
 * because only their lengths are told and these must add up; what a frame decodes to must have the
 * chunk's length and checksum.
 *
 * Older files are one frame without an index: they can only be expanded as a whole. */
#ifndef TINE_STACK_PACKED_IMAGE_H
#define TINE_STACK_PACKED_IMAGE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "stack/compression.h"

#define PACKED_PAGE_SIZE   4096u
#define PACKED_CHUNK_PAGES 64u                         /* a bit each */
#define PACKED_CHUNK_SIZE  262144u                     /* bytes: so many pages */
#define PACKED_CHUNK_LIMIT (PACKED_CHUNK_SIZE + 8192u) /* no frame of a chunk is longer */
#define PACKED_SIZE_LIMIT  (1ull << 44)                /* bytes of an image */

struct packed_image;

/* Takes `fd` over, also on failure; `label` is copied. ERROR_UNSUPPORTED (EOPNOTSUPP) if the file
 * has no index, ERROR_CORRUPT if that or the file's length is not right. */
struct packed_image *packed_image_open_fd(int fd, const char *label, enum stack_algorithm algorithm,
                                          struct error *err);
void packed_image_close(struct packed_image *image);
static inline void cleanup_packed_image(struct packed_image *const *image)
{
    packed_image_close(*image);
}

uint64_t packed_image_size(const struct packed_image *image); /* raw bytes */
/* A checksum of its content. */
uint64_t packed_image_id(const struct packed_image *image);
/* Which of a chunk's pages are all zero. */
uint64_t packed_image_zeros(const struct packed_image *image, uint64_t chunk);
/* True if nothing of the chunk has to be decoded. */
bool packed_image_is_zero(const struct packed_image *image, uint64_t chunk);

/* What decoding takes; one thread at a time. */
struct packed_decoder;
struct packed_decoder *packed_decoder_new(void); /* NULL: no memory */
void packed_decoder_free(struct packed_decoder *decoder);
static inline void cleanup_packed_decoder(struct packed_decoder *const *decoder)
{
    packed_decoder_free(*decoder);
}

/* Decodes a chunk into PACKED_CHUNK_SIZE bytes; what the last one lacks is zero. ERROR_CORRUPT if
 * it is damaged; `out` holds nothing of use after a failure. Several threads may do so at once. */
int packed_image_decode(const struct packed_image *image, struct packed_decoder *decoder,
                        uint64_t chunk, uint8_t *out, struct error *err);

#endif
