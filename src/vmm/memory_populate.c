/* SPDX-License-Identifier: Apache-2.0 */
/* Which pages were needed, and pages that are mapped before the guest needs them, as if each had
 * been read or written. */
#include <errno.h>
#include <sys/mman.h>

#include "base/cleanup.h"
#include "vmm/memory.h"
#include "vmm/page_map.h"

bool guest_region_part(const struct guest_region *region, const struct guest_pages *pages,
                       uint64_t *offset, uint64_t *length)
{
    const uint64_t start = pages->page * GUEST_PAGE_SIZE;
    const uint64_t end = start + pages->count * GUEST_PAGE_SIZE;
    const uint64_t region_end = region->file_offset + region->size;
    const uint64_t from = start > region->file_offset ? start : region->file_offset;
    const uint64_t to = end < region_end ? end : region_end;
    if (from >= to)
        return false;
    *offset = from - region->file_offset;
    *length = to - from;
    return true;
}

int guest_memory_populate(const struct guest_memory *memory, const struct guest_pages *pages,
                          bool write, struct error *err)
{
    const uint64_t all = memory->size / GUEST_PAGE_SIZE;
    uint64_t offset, length;
    if (memory->backing == GUEST_UFFD)
        return error_set(err, ERROR_UNSUPPORTED, ENOTSUP,
                         "the microVM's memory is a page server's");
    if (pages->page > all || pages->count > all - pages->page)
        return error_set(err, ERROR_INVALID, EINVAL,
                         "%llu pages from page %llu on are not all in guest memory",
                         (unsigned long long)pages->count, (unsigned long long)pages->page);
    for (unsigned i = 0; i < memory->region_count; i++) {
        const struct guest_region *region = &memory->regions[i];
        if (guest_region_part(region, pages, &offset, &length) &&
            madvise(region->host + offset, length,
                    write ? MADV_POPULATE_WRITE : MADV_POPULATE_READ) < 0)
            return error_errno(err, errno, NULL, "populate guest memory");
    }
    return 0;
}

/* Of what was begun on the region. */
static int tell_all(struct page_map *map, const struct guest_region *region, guest_touched *tell,
                    void *context, struct error *err)
{
    const uint8_t *start, *end;
    int r;
    while ((r = page_map_next(map, &start, &end, err)) > 0) {
        const struct guest_pages pages = {guest_region_page(region, start),
                                          (uint64_t)(end - start) / GUEST_PAGE_SIZE};
        r = tell(context, &pages, !map->shared, err);
        if (r < 0)
            return r;
    }
    return r;
}

int guest_memory_touched(const struct guest_memory *memory, guest_touched *tell, void *context,
                         struct error *err)
{
    _cleanup_(page_map) struct page_map map = {.fd = -1};
    int r = page_map_open(&map, err);
    for (unsigned i = 0; r == 0 && i < memory->region_count; i++) {
        const struct guest_region *region = &memory->regions[i];
        page_map_begin(&map, region->host, region->host + region->size);
        r = tell_all(&map, region, tell, context, err);
        if (r < 0)
            break;
        page_map_begin_shared(&map, region->host, region->host + region->size);
        r = tell_all(&map, region, tell, context, err);
    }
    return r;
}
