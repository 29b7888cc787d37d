/* SPDX-License-Identifier: Apache-2.0 */
/* Inside src/stack: what one layer says of each block of a disk. Blocks are the 4 KiB that file
 * systems of guests write as a whole, so what they write hardly ever has to be completed from
 * below, and what they discard is discarded to the block. The map comes in regions of 32 MiB; one
 * that the layer says nothing of takes no memory. */
#ifndef TINE_STACK_DISK_MAP_H
#define TINE_STACK_DISK_MAP_H

#include <stdbool.h>
#include <stdint.h>

#define DISK_BLOCK_SIZE    4096u
#define DISK_REGION_BLOCKS 8192u
#define DISK_REGION_WORDS  (DISK_REGION_BLOCKS / 64)

enum disk_kind {
    DISK_ABSENT, /* what lies below shows */
    DISK_DATA,
    DISK_ZERO,
};

struct disk_bits {
    uint64_t held[DISK_REGION_WORDS]; /* the layer says what the block is */
    uint64_t zero[DISK_REGION_WORDS]; /* of those: it is zeros */
};

struct disk_region {
    struct disk_bits bits;
    uint64_t generation;
    unsigned slot; /* which of its two pages in the file it was read from, or written to last */
    bool dirty;    /* differs from that */
};

struct disk_map {
    uint64_t blocks;
    uint32_t region_count;
    struct disk_region **regions; /* NULL: nothing */
    uint64_t data_blocks, zero_blocks;
    uint32_t dirty_first, dirty_end; /* the dirty ones are among these */
};

/* Blocks that follow one another. */
struct disk_run {
    uint64_t block, count;
    enum disk_kind kind;
};

/* Nothing is held. -ENOMEM. */
int disk_map_init(struct disk_map *map, uint64_t blocks);
void disk_map_free(struct disk_map *map);
static inline void cleanup_disk_map(struct disk_map *map)
{
    disk_map_free(map);
}

/* `block`, which must be one of the map's, and those behind it that are of its kind; up to the end
 * of its region, where the map may go on in the same way. */
struct disk_run disk_map_find(const struct disk_map *map, uint64_t block);
/* Sees to the memory that disk_map_set() needs. -ENOMEM. */
int disk_map_prepare(struct disk_map *map, uint64_t block, uint64_t count);
void disk_map_set(struct disk_map *map, uint64_t block, uint64_t count, enum disk_kind kind);
/* Takes a region that was read over (owner: the map), and counts what it holds. */
void disk_map_put(struct disk_map *map, uint32_t region, struct disk_region *taken);
/* Marks all as written. */
void disk_map_clean(struct disk_map *map);

#endif
