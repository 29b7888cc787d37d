/* SPDX-License-Identifier: Apache-2.0 */
/* The text of a handshake. What is accepted must hold what the fault path relies on. Then the peer
 * moves and unmaps pieces of it. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "pager/regions.h"
#include "pager/uffd.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define IMAGE (64ull << 20)

static void require(int condition)
{
    if (!condition)
        abort();
}

static void look_up(const struct region_table *table)
{
    for (uint32_t i = 0; i < table->count; i++) {
        const struct region *region = &table->regions[i];
        require(region->size > 0 && region->offset + region->size <= IMAGE);
        require(regions_at(table, region->base + region->size - 1) == region);
        require(regions_of_page(table, region->offset >> PAGE_SHIFT) == region);
    }
}

/* Cuts derived from the text itself. */
static void cut(struct region_table *table, const uint8_t *data, size_t size)
{
    struct error err = {0};
    for (size_t i = 0; i + 4 <= size && i < 256 && table->count > 0; i += 4) {
        const struct region *region = &table->regions[data[i] % table->count];
        uint64_t start = region->base + (uint64_t)data[i + 1] * PAGE_SIZE;
        uint64_t length = (uint64_t)(1 + data[i + 2]) * PAGE_SIZE;
        if (data[i + 3] & 1)
            (void)regions_unmap(table, start, start + length);
        else
            (void)regions_move(table, start, (uint64_t)(1 + data[i + 3]) << 32, length);
        if (regions_check(table, IMAGE, &err) < 0)
            return; /* moved onto one another, or nothing left: the session would fail */
        look_up(table);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct region_table table, again;
    struct error err = {0};
    const char *text = (const char *)data;
    if (regions_parse(text, size, &table, &err) < 0)
        return 0;
    require(table.count <= REGIONS_MAX);
    (void)regions_parse(text, size / 2, &again, &err);
    if (regions_check(&table, IMAGE, &err) < 0)
        return 0;
    look_up(&table);
    cut(&table, data, size);
    return 0;
}
