/* SPDX-License-Identifier: Apache-2.0 */
#include "stack/disk_below.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"

int disk_below_init(struct disk_below *below, int base, uint64_t blocks, struct error *err)
{
    uint64_t regions = (blocks + DISK_REGION_BLOCKS - 1) / DISK_REGION_BLOCKS;
    *below = (struct disk_below){.blocks = blocks, .region_count = (uint32_t)regions};
    below->layers[0].fd = base;
    below->regions = calloc(regions + 1, sizeof(struct disk_below_region *));
    return below->regions ? 0 : error_errno(err, ENOMEM, NULL, "open a disk");
}

void disk_below_close(struct disk_below *below)
{
    for (uint32_t i = 0; below->regions && i < below->region_count; i++)
        free(below->regions[i]);
    free(below->regions);
    for (unsigned i = 0; i <= below->depth; i++)
        cleanup_close(&below->layers[i].fd);
    *below = (struct disk_below){.layers[0].fd = -1};
}

/* The run that holds a block of the region. */
static unsigned run_at(const struct disk_below_region *region, unsigned at)
{
    unsigned low = 0, high = region->count - 1;
    while (low < high) {
        unsigned middle = low + (high - low + 1) / 2;
        if (region->runs[middle].first <= at)
            low = middle;
        else
            high = middle - 1;
    }
    return low;
}

struct disk_below_found disk_below_find(const struct disk_below *below, uint64_t block)
{
    const struct disk_below_region *region = below->regions[block / DISK_REGION_BLOCKS];
    unsigned at = (unsigned)(block % DISK_REGION_BLOCKS);
    uint64_t left = DISK_REGION_BLOCKS - at;
    if (left > below->blocks - block)
        left = below->blocks - block;
    if (!region)
        return (struct disk_below_found){.count = left};
    unsigned i = run_at(region, at);
    if (i + 1 < region->count && region->runs[i + 1].first - at < left)
        left = region->runs[i + 1].first - at;
    return (struct disk_below_found){
        .count = left, .zero = region->runs[i].zero, .layer = region->runs[i].layer};
}

/* ---- laying over ---- */

/* One region on its way: what each of its blocks is, then the runs of that. */
struct overlay {
    struct disk_below_run blocks[DISK_REGION_BLOCKS];
    unsigned end; /* how many there are */
};

static void spread_old(struct overlay *overlay, const struct disk_below_region *old)
{
    for (unsigned i = 0; i < overlay->end; i++)
        overlay->blocks[i] = (struct disk_below_run){.layer = 0};
    for (unsigned r = 0; old && r < old->count; r++) {
        unsigned end = r + 1 < old->count ? old->runs[r + 1].first : overlay->end;
        for (unsigned i = old->runs[r].first; i < end; i++)
            overlay->blocks[i] = old->runs[r];
    }
}

static void lay_over(struct overlay *overlay, const struct disk_map *map, uint64_t first,
                     uint8_t number)
{
    for (unsigned at = 0; at < overlay->end;) {
        struct disk_run run = disk_map_find(map, first + at);
        for (uint64_t i = 0; run.kind != DISK_ABSENT && i < run.count; i++)
            overlay->blocks[at + i] = run.kind == DISK_ZERO
                                          ? (struct disk_below_run){.zero = 1}
                                          : (struct disk_below_run){.layer = number};
        at += (unsigned)run.count;
    }
}

static bool same(const struct disk_below_run *a, const struct disk_below_run *b)
{
    return a->layer == b->layer && a->zero == b->zero;
}

/* Leaves the runs at the front of the blocks; returns how many. */
static unsigned gather(struct overlay *overlay)
{
    unsigned count = 0;
    for (unsigned i = 0; i < overlay->end; i++) {
        if (count > 0 && same(&overlay->blocks[count - 1], &overlay->blocks[i]))
            continue;
        overlay->blocks[count] = overlay->blocks[i];
        overlay->blocks[count++].first = (uint16_t)i;
    }
    return count;
}

/* NULL when out of memory. */
static struct disk_below_region *region_make(const struct disk_below *below, uint32_t index,
                                             const struct disk_map *map, struct overlay *overlay)
{
    uint64_t first = (uint64_t)index * DISK_REGION_BLOCKS;
    overlay->end = below->blocks - first < DISK_REGION_BLOCKS ? (unsigned)(below->blocks - first)
                                                              : DISK_REGION_BLOCKS;
    spread_old(overlay, below->regions[index]);
    lay_over(overlay, map, first, (uint8_t)(below->depth + 1));
    unsigned count = gather(overlay);
    struct disk_below_region *region = malloc(sizeof(*region) + count * sizeof(region->runs[0]));
    if (!region)
        return NULL;
    region->count = count;
    memcpy(region->runs, overlay->blocks, count * sizeof(region->runs[0]));
    return region;
}

/* Regions that the layer says something of, made anew; the others are NULL. */
struct remade {
    struct disk_below_region **regions;
    uint32_t count;
};

static void cleanup_remade(struct remade *remade)
{
    for (uint32_t i = 0; remade->regions && i < remade->count; i++)
        free(remade->regions[i]);
    free(remade->regions);
}

static int remake(const struct disk_below *below, const struct disk_map *map, struct remade *remade)
{
    _cleanup_(free) struct overlay *overlay = malloc(sizeof(*overlay));
    remade->regions = calloc(below->region_count + 1, sizeof(struct disk_below_region *));
    if (!overlay || !remade->regions)
        return -ENOMEM;
    for (uint32_t i = 0; i < below->region_count; i++) {
        if (!map->regions[i])
            continue;
        remade->regions[i] = region_make(below, i, map, overlay);
        if (!remade->regions[i])
            return -ENOMEM;
    }
    return 0;
}

int disk_below_add(struct disk_below *below, struct disk_layer *layer, struct error *err)
{
    _cleanup_(remade) struct remade remade = {.count = below->region_count};
    if (below->depth == DISK_STACK_LIMIT)
        return error_set(err, ERROR_STATE, EMLINK, "%s: more than %u layers lie over one another",
                         layer->label, DISK_STACK_LIMIT);
    if (remake(below, &layer->map, &remade) < 0)
        return error_errno(err, ENOMEM, layer->label, "open %s", layer->label);
    for (uint32_t i = 0; i < below->region_count; i++) {
        struct disk_below_region *made = remade.regions[i];
        if (!made)
            continue;
        remade.regions[i] = below->regions[i]; /* the old one is freed */
        below->regions[i] = made;
    }
    below->depth++;
    below->layers[below->depth].fd = TAKE_FD(layer->fd);
    below->layers[below->depth].data_offset = layer->layout.data_offset;
    return 0;
}
