/* SPDX-License-Identifier: Apache-2.0 */
#include "stack/disk_map.h"

#include <errno.h>
#include <stdlib.h>

#include "base/cleanup.h"

int disk_map_init(struct disk_map *map, uint64_t blocks)
{
    uint64_t regions = (blocks + DISK_REGION_BLOCKS - 1) / DISK_REGION_BLOCKS;
    *map = (struct disk_map){.blocks = blocks, .region_count = (uint32_t)regions};
    map->regions = calloc(regions + 1, sizeof(struct disk_region *));
    disk_map_clean(map);
    return map->regions ? 0 : -ENOMEM;
}

void disk_map_free(struct disk_map *map)
{
    for (uint32_t i = 0; map->regions && i < map->region_count; i++)
        free(map->regions[i]);
    free(map->regions);
    *map = (struct disk_map){.regions = NULL};
}

/* How many blocks a region has: the last one may have fewer. */
static unsigned region_blocks(const struct disk_map *map, uint32_t region)
{
    uint64_t left = map->blocks - (uint64_t)region * DISK_REGION_BLOCKS;
    return left < DISK_REGION_BLOCKS ? (unsigned)left : DISK_REGION_BLOCKS;
}

static enum disk_kind kind_at(const struct disk_bits *bits, unsigned at)
{
    uint64_t bit = 1ull << (at % 64);
    if (!(bits->held[at / 64] & bit))
        return DISK_ABSENT;
    return bits->zero[at / 64] & bit ? DISK_ZERO : DISK_DATA;
}

/* A bit for each block of the word that is not of that kind. */
static uint64_t others(const struct disk_bits *bits, unsigned word, enum disk_kind kind)
{
    uint64_t held = bits->held[word], zero = bits->zero[word];
    return kind == DISK_ABSENT ? held : kind == DISK_ZERO ? ~zero : ~(held & ~zero);
}

/* Where the blocks of that kind end that begin at `at`. */
static unsigned run_end(const struct disk_bits *bits, unsigned at, unsigned end,
                        enum disk_kind kind)
{
    unsigned word = at / 64;
    uint64_t different = others(bits, word, kind) & (~0ull << (at % 64));
    while (different == 0 && (word + 1) * 64 < end)
        different = others(bits, ++word, kind);
    if (different == 0)
        return end;
    unsigned found = word * 64 + (unsigned)__builtin_ctzll(different);
    return found < end ? found : end;
}

struct disk_run disk_map_find(const struct disk_map *map, uint64_t block)
{
    uint32_t index = (uint32_t)(block / DISK_REGION_BLOCKS);
    unsigned at = (unsigned)(block % DISK_REGION_BLOCKS);
    unsigned end = region_blocks(map, index);
    const struct disk_region *region = map->regions[index];
    if (!region)
        return (struct disk_run){block, end - at, DISK_ABSENT};
    enum disk_kind kind = kind_at(&region->bits, at);
    return (struct disk_run){block, run_end(&region->bits, at, end, kind) - at, kind};
}

int disk_map_prepare(struct disk_map *map, uint64_t block, uint64_t count)
{
    uint64_t last = (block + count - 1) / DISK_REGION_BLOCKS;
    for (uint64_t i = block / DISK_REGION_BLOCKS; count > 0 && i <= last; i++) {
        if (!map->regions[i])
            map->regions[i] = calloc(1, sizeof(struct disk_region));
        if (!map->regions[i])
            return -ENOMEM;
    }
    return 0;
}

static void set_bits(uint64_t *word, uint64_t mask, bool on)
{
    *word = on ? *word | mask : *word & ~mask;
}

/* Counts the blocks of the word under `mask`, or takes them back. */
static void count_word(struct disk_map *map, const struct disk_bits *bits, unsigned word,
                       uint64_t mask, int sign)
{
    uint64_t held = bits->held[word] & mask, zero = bits->zero[word] & mask;
    map->data_blocks += (uint64_t)(sign * __builtin_popcountll(held & ~zero));
    map->zero_blocks += (uint64_t)(sign * __builtin_popcountll(zero));
}

static void set_in_region(struct disk_map *map, struct disk_region *region, unsigned at,
                          unsigned end, enum disk_kind kind)
{
    while (at < end) {
        unsigned word = at / 64, bits = 64 - at % 64;
        if (bits > end - at)
            bits = end - at;
        uint64_t mask = (bits == 64 ? ~0ull : (1ull << bits) - 1) << (at % 64);
        count_word(map, &region->bits, word, mask, -1);
        set_bits(&region->bits.held[word], mask, kind != DISK_ABSENT);
        set_bits(&region->bits.zero[word], mask, kind == DISK_ZERO);
        count_word(map, &region->bits, word, mask, 1);
        at += bits;
    }
}

static void mark_dirty(struct disk_map *map, uint32_t index)
{
    map->regions[index]->dirty = true;
    if (index < map->dirty_first)
        map->dirty_first = index;
    if (index >= map->dirty_end)
        map->dirty_end = index + 1;
}

void disk_map_set(struct disk_map *map, uint64_t block, uint64_t count, enum disk_kind kind)
{
    while (count > 0) {
        uint32_t index = (uint32_t)(block / DISK_REGION_BLOCKS);
        unsigned at = (unsigned)(block % DISK_REGION_BLOCKS);
        uint64_t piece = DISK_REGION_BLOCKS - at < count ? DISK_REGION_BLOCKS - at : count;
        struct disk_run old = disk_map_find(map, block);
        if (old.kind != kind || old.count < piece) {
            set_in_region(map, map->regions[index], at, at + (unsigned)piece, kind);
            mark_dirty(map, index);
        }
        block += piece;
        count -= piece;
    }
}

void disk_map_put(struct disk_map *map, uint32_t region, struct disk_region *taken)
{
    map->regions[region] = taken;
    for (unsigned word = 0; word < DISK_REGION_WORDS; word++)
        count_word(map, &taken->bits, word, ~0ull, 1);
}

void disk_map_clean(struct disk_map *map)
{
    for (uint32_t i = map->dirty_first; i < map->dirty_end; i++) {
        if (map->regions[i])
            map->regions[i]->dirty = false;
    }
    map->dirty_first = UINT32_MAX;
    map->dirty_end = 0;
}
