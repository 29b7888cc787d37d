/* SPDX-License-Identifier: Apache-2.0 */
/* Inside src/stack: the file format of a delta layer (layer.h). All numbers are little-endian, as
 * the only hosts there are have them. */
#ifndef TINE_STACK_LAYER_FORMAT_H
#define TINE_STACK_LAYER_FORMAT_H

#include <stddef.h>
#include <stdint.h>

#include "stack/layer.h"

#define LAYER_MAGIC       "TINELAYR"
#define LAYER_FORMAT      1u
#define LAYER_CHUNK_PAGES 256u /* of data, under one checksum */
#define LAYER_CHUNK_SIZE  ((size_t)LAYER_CHUNK_PAGES * LAYER_PAGE_SIZE)

struct layer_header {
    char magic[8];
    uint32_t format;
    uint32_t page_size, chunk_pages;
    uint32_t reserved; /* 0 */
    uint64_t image_pages;
    uint64_t data_pages, zero_pages, runs;
    uint64_t index_checksum; /* XXH3-64 of the index */
    uint64_t checksum;       /* XXH3-64 of all before it */
};

struct layer_index_run {
    uint64_t page;
    uint32_t count, kind;
};

_Static_assert(sizeof(struct layer_header) == 72, "the file format is fixed");
_Static_assert(sizeof(struct layer_index_run) == 16, "the file format is fixed");

/* A run as it is kept in memory. */
struct layer_piece {
    uint32_t page, count;
    uint32_t data; /* LAYER_DATA: which page of the data it begins with; else LAYER_NO_DATA */
};
#define LAYER_NO_DATA UINT32_MAX

static inline uint64_t layer_chunks(uint64_t data_pages)
{
    return (data_pages + LAYER_CHUNK_PAGES - 1) / LAYER_CHUNK_PAGES;
}

static inline uint64_t layer_data_offset(uint64_t data_page)
{
    return (data_page + 1) * LAYER_PAGE_SIZE;
}

static inline uint64_t layer_index_size(uint64_t runs, uint64_t data_pages)
{
    return runs * sizeof(struct layer_index_run) + layer_chunks(data_pages) * sizeof(uint64_t);
}

uint64_t layer_checksum(const void *bytes, size_t length);
/* Fills in the header's own checksum. */
void layer_header_seal(struct layer_header *header);
void layer_header_describe(const struct layer_header *header, struct layer_info *info);

#endif
