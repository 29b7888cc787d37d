/* SPDX-License-Identifier: Apache-2.0 */
/* Inside src/stack: the index of a compressed image (packed_image.h). All numbers are
 * little-endian, as the only hosts there are have them. */
#ifndef TINE_STACK_PACKED_FORMAT_H
#define TINE_STACK_PACKED_FORMAT_H

#include <stddef.h>
#include <stdint.h>

#include "base/error.h"
#include "stack/packed_image.h"

#define PACKED_MAGIC     "TINEPACK"
#define PACKED_FORMAT    1u
#define PACKED_SKIPPABLE 0x184d2a5eu /* a magic number of frames that both formats skip */

/* Of the skippable frame that the index is in. */
struct packed_head {
    uint32_t magic, length; /* of what follows */
};

struct packed_entry {
    uint32_t length;   /* of the chunk's frame; it begins where the one before it ends */
    uint32_t reserved; /* 0 */
    uint64_t zeros;    /* a bit for each page of the chunk that is all zero */
    uint64_t checksum; /* XXH3-64 of the raw bytes */
};

/* The last bytes of the file. */
struct packed_foot {
    uint64_t raw_bytes;
    uint32_t chunk_size, format;
    uint64_t index_checksum; /* XXH3-64 of the entries */
    uint64_t checksum;       /* XXH3-64 of all before it here */
    char magic[8];
};

_Static_assert(sizeof(struct packed_head) == 8, "the file format is fixed");
_Static_assert(sizeof(struct packed_entry) == 24, "the file format is fixed");
_Static_assert(sizeof(struct packed_foot) == 40, "the file format is fixed");

/* An entry as it is kept in memory. */
struct packed_chunk {
    uint64_t offset, zeros, checksum;
    uint32_t length;
};

/* What is around the entries. */
#define PACKED_FRAME_SIZE (sizeof(struct packed_head) + sizeof(struct packed_foot))

static inline uint64_t packed_chunks(uint64_t raw_bytes)
{
    return raw_bytes / PACKED_CHUNK_SIZE + (raw_bytes % PACKED_CHUNK_SIZE != 0);
}

/* The raw bytes of a chunk: fewer only at the end. */
static inline size_t packed_chunk_length(uint64_t raw_bytes, uint64_t chunk)
{
    uint64_t left = raw_bytes - chunk * PACKED_CHUNK_SIZE;
    return left < PACKED_CHUNK_SIZE ? (size_t)left : PACKED_CHUNK_SIZE;
}

/* All bits of the pages that so many bytes have. */
static inline uint64_t packed_all_zeros(size_t length)
{
    size_t pages = (length + PACKED_PAGE_SIZE - 1) / PACKED_PAGE_SIZE;
    return pages < PACKED_CHUNK_PAGES ? (1ull << pages) - 1 : UINT64_MAX;
}

uint64_t packed_checksum(const void *bytes, size_t length);
/* Makes the entry of a chunk whose frame has `packed` bytes. */
struct packed_entry packed_entry_of(const uint8_t *raw, size_t length, size_t packed);
/* Fills in head and foot for entries of an image of so many bytes. */
void packed_seal(const struct packed_entry *entries, uint64_t raw_bytes, struct packed_head *head,
                 struct packed_foot *foot);

/* True if the foot claims to be one; nothing else of it is checked. */
bool packed_foot_is(const struct packed_foot *foot);
/* Checks the foot of a file of so many bytes. NULL, or what is wrong with it, in words. */
const char *packed_foot_check(const struct packed_foot *foot, uint64_t file_bytes);
/* Checks head and entries, which are those of a foot that was checked, and fills in its
 * packed_chunks(). NULL, or what is wrong. */
const char *packed_index_parse(const struct packed_foot *foot, uint64_t file_bytes,
                               const uint8_t *bytes, struct packed_chunk *chunks);

#endif
