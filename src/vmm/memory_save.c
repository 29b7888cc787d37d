/* SPDX-License-Identifier: Apache-2.0 */
/* All of guest memory into a fresh sparse file. Anonymous memory that was never touched, and served
 * memory that was given back, is found in the page map and not read, because reading would give
 * each such page a mapping. Any other page without an entry has the content of the file, or what
 * the page server gives for it. */
#include "base/cleanup.h"
#include "vmm/memory.h"
#include "vmm/memory_writer.h"
#include "vmm/page_map.h"

#include <errno.h>
#include <unistd.h>

static int pages_save(const struct guest_region *region, const uint8_t *start, const uint8_t *end,
                      struct memory_writer *writer, struct error *err)
{
    for (const uint8_t *page = start; page < end; page += GUEST_PAGE_SIZE) {
        uint64_t offset = region->file_offset + (uint64_t)(page - region->host);
        int r = memory_write_page(writer, page, offset, err);
        if (r < 0)
            return r;
    }
    return 0;
}

/* Pages without an entry. */
static int missing_save(const struct guest_memory *memory, const struct guest_region *region,
                        const uint8_t *start, const uint8_t *end, struct memory_writer *writer,
                        struct error *err)
{
    int r = 0;
    if (memory->backing == GUEST_ANONYMOUS)
        return 0;
    for (const uint8_t *page = start; r == 0 && page < end; page += GUEST_PAGE_SIZE) {
        if (!page_set_has(&memory->removed, guest_region_page(region, page)))
            r = pages_save(region, page, page + GUEST_PAGE_SIZE, writer, err);
    }
    return r;
}

static int region_save(const struct guest_memory *memory, const struct guest_region *region,
                       struct page_map *map, struct memory_writer *writer, struct error *err)
{
    const uint8_t *at = region->host, *start, *end;
    int r;
    page_map_begin(map, region->host, region->host + region->size);
    while ((r = page_map_next(map, &start, &end, err)) > 0) {
        r = missing_save(memory, region, at, start, writer, err);
        if (r == 0)
            r = pages_save(region, start, end, writer, err);
        if (r < 0)
            return r;
        at = end;
    }
    return r < 0 ? r : missing_save(memory, region, at, region->host + region->size, writer, err);
}

int guest_memory_save(const struct guest_memory *memory, int fd, const char *path,
                      uint64_t *data_bytes, struct error *err)
{
    _cleanup_(page_map) struct page_map map = {.fd = -1};
    struct memory_writer writer = {.fd = fd, .path = path, .zeros = MEMORY_ZEROS_ARE_HOLES};
    const bool from_file = memory->backing == GUEST_FILE;
    int r = from_file ? 0 : page_map_open(&map, err);
    if (r < 0)
        return r;
    /* First, not last: a file that grows write by write makes XFS allocate room behind each run,
     * and the holes fill up. */
    if (ftruncate(fd, (off_t)memory->size) < 0)
        return error_errno(err, errno, path, "set the size of %s", path);
    for (unsigned i = 0; r == 0 && i < memory->region_count; i++) {
        const struct guest_region *region = &memory->regions[i];
        r = from_file ? pages_save(region, region->host, region->host + region->size, &writer, err)
                      : region_save(memory, region, &map, &writer, err);
    }
    if (r == 0)
        r = memory_write_end(&writer, err);
    if (data_bytes)
        *data_bytes = writer.written;
    return r;
}
