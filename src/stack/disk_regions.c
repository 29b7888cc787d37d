/* SPDX-License-Identifier: Apache-2.0 */
#include "stack/disk_regions.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/failpoint.h"
#include "base/file.h"
#include "stack/copy.h"
#include "stack/disk_header.h"
#include "stack/layer_format.h"

/* What is found where a page of the map should be. */
enum page_state { PAGE_BLANK, PAGE_WHOLE, PAGE_TORN };

union page {
    struct disk_region_page content;
    uint8_t bytes[DISK_BLOCK_SIZE];
};

static uint64_t page_offset(const struct disk_layer *layer, uint32_t region, unsigned slot)
{
    return layer->layout.map_offset + (2ull * region + slot) * DISK_BLOCK_SIZE;
}

static uint64_t page_checksum(const struct disk_region_page *page)
{
    return layer_checksum(&page->layer_id,
                          sizeof(*page) - offsetof(struct disk_region_page, layer_id));
}

/* Bits of blocks that the disk does not have, or zeros that are not held, are no one's. */
static bool bits_valid(const struct disk_layer *layer, uint32_t region,
                       const struct disk_bits *bits)
{
    uint64_t first = (uint64_t)region * DISK_REGION_BLOCKS;
    for (unsigned word = 0; word < DISK_REGION_WORDS; word++) {
        uint64_t begin = first + word * 64ull, blocks = layer->layout.blocks;
        uint64_t there = begin >= blocks        ? 0
                         : blocks - begin >= 64 ? ~0ull
                                                : (1ull << (blocks - begin)) - 1;
        if ((bits->held[word] & ~there) || (bits->zero[word] & ~bits->held[word]))
            return false;
    }
    return true;
}

static enum page_state page_state(const struct disk_layer *layer, uint32_t region,
                                  const union page *page)
{
    const struct disk_region_page *content = &page->content;
    if (bytes_are_zero(page->bytes, sizeof(page->bytes)))
        return PAGE_BLANK;
    bool whole = page_checksum(content) == content->checksum &&
                 content->layer_id == layer->header->id && content->region == region &&
                 content->reserved == 0 && bits_valid(layer, region, &content->bits);
    return whole ? PAGE_WHOLE : PAGE_TORN;
}

static int region_take(struct disk_layer *layer, uint32_t region, const union page *page,
                       unsigned slot, struct error *err)
{
    struct disk_region *taken = calloc(1, sizeof(*taken));
    if (!taken)
        return error_errno(err, ENOMEM, layer->label, "open %s", layer->label);
    taken->bits = page->content.bits;
    taken->generation = page->content.generation;
    taken->slot = slot;
    disk_map_put(&layer->map, region, taken);
    return 0;
}

/* A page is torn while it is written for the first time, or beside a whole one. */
static int region_read(struct disk_layer *layer, uint32_t region, unsigned *cured,
                       struct error *err)
{
    union page pages[2];
    int r = file_pread_exact(layer->fd, pages, sizeof(pages), page_offset(layer, region, 0),
                             layer->label, err);
    if (r < 0)
        return r;
    enum page_state first = page_state(layer, region, &pages[0]);
    enum page_state second = page_state(layer, region, &pages[1]);
    *cured += first == PAGE_TORN || second == PAGE_TORN;
    if (first == PAGE_TORN && second == PAGE_TORN)
        return error_set(err, ERROR_CORRUPT, EBADMSG,
                         "%s is damaged: both pages of its map for the blocks from %llu on are",
                         layer->label, (unsigned long long)region * DISK_REGION_BLOCKS);
    if (first != PAGE_WHOLE && second != PAGE_WHOLE)
        return 0;
    unsigned slot =
        first != PAGE_WHOLE ||
        (second == PAGE_WHOLE && pages[1].content.generation > pages[0].content.generation);
    return region_take(layer, region, &pages[slot], slot, err);
}

int disk_regions_read(struct disk_layer *layer, unsigned *cured, struct error *err)
{
    int r = 0;
    for (uint32_t i = 0; r == 0 && i < layer->layout.regions; i++) {
        if (disk_header_has(layer->header, i))
            r = region_read(layer, i, cured, err);
    }
    return r;
}

static int region_write(const struct disk_layer *layer, uint32_t index)
{
    const struct disk_region *region = layer->map.regions[index];
    struct error err = {0};
    union page page = {.content = {.layer_id = layer->header->id,
                                   .generation = region->generation + 1,
                                   .region = index,
                                   .bits = region->bits}};
    page.content.checksum = page_checksum(&page.content);
    int r = failpoint("disk-map-write");
    return r < 0
               ? r
               : file_pwrite_exact(layer->fd, &page, sizeof(page),
                                   page_offset(layer, index, 1 - region->slot), layer->label, &err);
}

int disk_regions_write(struct disk_layer *layer)
{
    const struct disk_map *map = &layer->map;
    for (uint32_t i = map->dirty_first; i < map->dirty_end; i++) {
        if (!map->regions[i] || !map->regions[i]->dirty)
            continue;
        int r = region_write(layer, i);
        if (r < 0)
            return r;
        if (!disk_header_has(layer->header, i))
            disk_header_add(layer, i);
    }
    return 0;
}

void disk_regions_commit(struct disk_layer *layer)
{
    struct disk_map *map = &layer->map;
    for (uint32_t i = map->dirty_first; i < map->dirty_end; i++) {
        if (!map->regions[i] || !map->regions[i]->dirty)
            continue;
        map->regions[i]->generation++;
        map->regions[i]->slot = 1 - map->regions[i]->slot;
    }
    disk_map_clean(map);
}

/* Of each region that says something, by its place: how it came to that is of no account. */
uint64_t disk_regions_checksum(const struct disk_layer *layer)
{
    static const struct disk_bits nothing;
    uint64_t sums[2] = {0, 0};
    for (uint32_t i = 0; i < layer->map.region_count; i++) {
        const struct disk_region *region = layer->map.regions[i];
        if (!region || memcmp(&region->bits, &nothing, sizeof(nothing)) == 0)
            continue;
        sums[0] = layer_checksum(sums, sizeof(sums));
        sums[1] = layer_checksum(&region->bits, sizeof(region->bits)) ^ i;
    }
    return layer_checksum(sums, sizeof(sums));
}
