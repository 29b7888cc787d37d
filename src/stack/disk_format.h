/* SPDX-License-Identifier: Apache-2.0 */
/* Inside src/stack: the file format of a disk layer (disk_layer.h). All numbers are little-endian,
 * as the only hosts there are have them.
 *
 *   header  twice: struct disk_header, then a bit per region that the map has pages of; padded to
 *           whole blocks
 *   map     two blocks per region: struct disk_region_page, or nothing but zeros, twice
 *   data    block n of the image lies at the n-th block of the data: the map says if it is there
 *
 * Of what is there twice the whole one with the higher generation counts; the other one is the next
 * to be written. So a write that was torn leaves the state before it. */
#ifndef TINE_STACK_DISK_FORMAT_H
#define TINE_STACK_DISK_FORMAT_H

#include <stddef.h>
#include <stdint.h>

#include "stack/disk_map.h"

#define DISK_MAGIC       "TINEDISK"
#define DISK_FORMAT      1u
#define DISK_IMAGE_LIMIT (1ull << 44) /* bytes: what ext4 can hold in one file */

struct disk_header {
    char magic[8];
    uint32_t format;
    uint32_t block_size;
    uint64_t checksum;                 /* XXH3-64 of the header and its bits, with 0 here */
    uint64_t generation;               /* of the whole layer when this was written */
    uint64_t image_size;               /* bytes */
    uint64_t id;                       /* chance: names the layer */
    uint64_t below_id;                 /* of the layer below; 0: the base */
    uint32_t below;                    /* its number; 0: the base */
    uint32_t sealed;                   /* 1: never written again */
    uint64_t data_blocks, zero_blocks; /* what the map held when this was written */
    uint64_t map_checksum;             /* XXH3-64 of all that a sealed layer's map holds; else 0 */
};

struct disk_region_page {
    uint64_t checksum; /* XXH3-64 of what follows */
    uint64_t layer_id, generation;
    uint32_t region, reserved;
    struct disk_bits bits;
};

_Static_assert(sizeof(struct disk_header) == 88, "the file format is fixed");
_Static_assert(sizeof(struct disk_region_page) == 2080, "the file format is fixed");

/* Where things lie in a layer of an image. */
struct disk_layout {
    uint64_t blocks; /* of the image, the last one perhaps in part */
    uint32_t regions;
    size_t header_size; /* of one of the two */
    uint64_t map_offset, data_offset, file_size;
};

static inline struct disk_layout disk_layout(uint64_t image_size)
{
    struct disk_layout layout;
    layout.blocks = (image_size + DISK_BLOCK_SIZE - 1) / DISK_BLOCK_SIZE;
    layout.regions = (uint32_t)((layout.blocks + DISK_REGION_BLOCKS - 1) / DISK_REGION_BLOCKS);
    size_t bytes = sizeof(struct disk_header) + (layout.regions + 7) / 8;
    layout.header_size = (bytes + DISK_BLOCK_SIZE - 1) / DISK_BLOCK_SIZE * DISK_BLOCK_SIZE;
    layout.map_offset = 2 * layout.header_size;
    layout.data_offset = layout.map_offset + (uint64_t)layout.regions * 2 * DISK_BLOCK_SIZE;
    layout.file_size = layout.data_offset + layout.blocks * DISK_BLOCK_SIZE;
    return layout;
}

#endif
