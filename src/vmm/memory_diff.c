/* SPDX-License-Identifier: Apache-2.0 */
/* What differs from a base.
 *
 * Memory out of a file consists of two kinds of mapping: of the file, privately, where the pages
 * that differ are exactly those that this process has for itself; and anonymous, where the balloon
 * gave memory back (guest_memory_discard()), and there every page differs, an untouched one by
 * being zero. Which is which the kernel knows (/proc/self/maps), so nothing has to be kept for it.
 *
 * Whoever writes to guest memory makes the page this process's own, the VMM itself included (rings,
 * the VM generation id, blocks read from a disk); so it is found like what the guest wrote. A huge
 * page is seen as its small ones. A page never goes back to being the file's: it is dropped only by
 * being mapped over.
 *
 * That is why a diff may be written into the very file that is mapped. A page that is written to
 * the file is one that this process reads elsewhere, from its own page or its anonymous mapping; a
 * page that it reads from the file is not written. Neither a write nor a hole takes a private page
 * away (only a cut would, and the size is never changed). So the guest sees no difference, the diff
 * may fail at any point and the guest goes on, and what was written then will be written again by
 * the next diff: the file is as good a base for that as it was, though for nothing else.
 *
 * Memory out of a stack is the same with several files. What is zero in the stack is anonymous too,
 * and remembered: there an untouched page does not differ.
 *
 * All other memory is anonymous. Of served memory every page that was touched is this process's
 * own, whether it was written or not; one that is not is the base's still, unless it was given
 * back. Of what a VM was booted with, such a page is zero. Where writes are tracked the pages that
 * were not written since the last snapshot are left out. That set may name pages too many, never
 * too few. */
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "stack/layer.h"
#include "vmm/memory.h"
#include "vmm/memory_writer.h"
#include "vmm/page_map.h"

#define MAPS "/proc/self/maps"

struct diff {
    const struct guest_memory *memory;
    struct memory_writer writer;
    struct page_map map;
    uint64_t seen; /* bytes of guest memory */
};

static void cleanup_diff(struct diff *diff)
{
    page_map_close(&diff->map);
}

/* A part of a region that is mapped in one way. */
struct area {
    const struct guest_region *region;
    const uint8_t *start, *end;
    bool anonymous;
};

static uint64_t offset_of(const struct area *area, const uint8_t *page)
{
    return area->region->file_offset + (uint64_t)(page - area->region->host);
}

/* Whether the page may differ from the base, as far as can be told without a look at it. */
static bool is_wanted(const struct diff *diff, const struct area *area, const uint8_t *page)
{
    const struct page_set *dirty = &diff->memory->dirty;
    return !page_set_made(dirty) || page_set_has(dirty, guest_region_page(area->region, page));
}

/* Whether the page of an anonymous mapping, which is not our own, became zero; else it is the
 * base's. */
static bool is_zero(const struct diff *diff, const struct area *area, const uint8_t *page)
{
    const struct page_set *removed = &diff->memory->removed;
    uint64_t number = guest_region_page(area->region, page);
    return (!page_set_made(removed) || page_set_has(removed, number)) &&
           !page_set_has(&diff->memory->zeros, number);
}

/* Whether the page of our own is one that was only read, or has become what it was. */
static bool is_still_zero(const struct diff *diff, const struct area *area, const uint8_t *page)
{
    return page_set_has(&diff->memory->zeros, guest_region_page(area->region, page)) &&
           memory_page_is_zero(page);
}

/* What lies between the pages of our own. */
static int others_save(struct diff *diff, const struct area *area, const uint8_t *start,
                       const uint8_t *end, struct error *err)
{
    int r = 0;
    if (!area->anonymous)
        return 0;
    for (const uint8_t *page = start; r == 0 && page < end; page += GUEST_PAGE_SIZE) {
        if (is_zero(diff, area, page) && is_wanted(diff, area, page))
            r = memory_write_zeros(&diff->writer, offset_of(area, page), GUEST_PAGE_SIZE, err);
    }
    return r;
}

static int own_save(struct diff *diff, const struct area *area, const uint8_t *start,
                    const uint8_t *end, struct error *err)
{
    int r = 0;
    for (const uint8_t *page = start; r == 0 && page < end; page += GUEST_PAGE_SIZE) {
        if (is_wanted(diff, area, page) && !is_still_zero(diff, area, page))
            r = memory_write_page(&diff->writer, page, offset_of(area, page), err);
    }
    return r;
}

static int area_save(struct diff *diff, const struct area *area, struct error *err)
{
    const uint8_t *at = area->start, *start, *end;
    int r;
    page_map_begin(&diff->map, area->start, area->end);
    while ((r = page_map_next(&diff->map, &start, &end, err)) > 0) {
        r = others_save(diff, area, at, start, err);
        if (r == 0)
            r = own_save(diff, area, start, end, err);
        if (r < 0)
            return r;
        at = end;
    }
    return r < 0 ? r : others_save(diff, area, at, area->end, err);
}

static int mapping_save(struct diff *diff, const struct guest_region *region, const uint8_t *start,
                        const uint8_t *end, bool anonymous, struct error *err)
{
    const struct area area = {
        .region = region,
        .start = start > region->host ? start : region->host,
        .end = end < region->host + region->size ? end : region->host + region->size,
        .anonymous = anonymous};
    if (area.start >= area.end)
        return 0;
    diff->seen += (uint64_t)(area.end - area.start);
    return area_save(diff, &area, err);
}

/* proc_pid_maps(5): what is mapped of no file has the inode 0. */
static int region_save(struct diff *diff, const struct guest_region *region, FILE *maps,
                       struct error *err)
{
    char line[256];
    bool begins = true; /* names of files may be longer than the buffer */
    while (fgets(line, sizeof(line), maps)) {
        unsigned long start, end, inode;
        bool parsed =
            begins && sscanf(line, "%lx-%lx %*s %*x %*x:%*x %lu", &start, &end, &inode) == 3;
        begins = strchr(line, '\n') != NULL;
        int r = !parsed ? 0
                        : mapping_save(diff, region, (const uint8_t *)start, (const uint8_t *)end,
                                       inode == 0, err);
        if (r < 0)
            return r;
    }
    return ferror(maps) ? error_errno(err, EIO, MAPS, "read " MAPS) : 0;
}

/* Region by region: where they lie in this process says nothing of their order in a file. */
static int regions_save(struct diff *diff, FILE *maps, struct error *err)
{
    int r = 0;
    for (unsigned i = 0; r == 0 && i < diff->memory->region_count; i++) {
        rewind(maps);
        r = region_save(diff, &diff->memory->regions[i], maps, err);
    }
    if (r < 0)
        return r;
    if (diff->seen != diff->memory->size)
        return error_set(err, ERROR_SYSTEM, EIO, MAPS ": shows %llu of %llu bytes of guest memory",
                         (unsigned long long)diff->seen, (unsigned long long)diff->memory->size);
    return 0;
}

static int pages_find(struct diff *diff, uint64_t *data_bytes, struct error *err)
{
    int r = page_map_open(&diff->map, err);
    if (r < 0)
        return r;
    _cleanup_(fclose) FILE *maps = fopen(MAPS, "re");
    if (!maps)
        return error_errno(err, errno, MAPS, "open " MAPS);
    r = regions_save(diff, maps, err);
    if (r == 0)
        r = memory_write_end(&diff->writer, err);
    if (data_bytes)
        *data_bytes = diff->writer.written;
    return r;
}

int guest_memory_layer(const struct guest_memory *memory, int fd, const char *path,
                       uint64_t *data_bytes, struct error *err)
{
    struct error cause = {0};
    _cleanup_(layer_writer) struct layer_writer *layer =
        layer_writer_begin(fd, path, memory->size, &cause);
    _cleanup_(diff) struct diff diff = {
        .memory = memory, .map.fd = -1, .writer = {.fd = fd, .path = path, .layer = layer}};
    int r = layer ? pages_find(&diff, data_bytes, &cause) : -cause.errnum;
    if (r == 0)
        r = layer_writer_finish(layer, NULL, &cause);
    if (r < 0 && err)
        *err = cause;
    return r;
}

int guest_memory_diff(const struct guest_memory *memory, int fd, const char *path, bool in_place,
                      uint64_t *data_bytes, struct error *err)
{
    _cleanup_(diff) struct diff diff = {
        .memory = memory, .map.fd = -1, .writer = {.fd = fd, .path = path}};
    const bool has_base = memory->backing != GUEST_ANONYMOUS || guest_memory_tracks(memory);
    diff.writer.zeros = in_place   ? MEMORY_ZEROS_PUNCHED
                        : has_base ? MEMORY_ZEROS_WRITTEN
                                   : MEMORY_ZEROS_ARE_HOLES;
    if (!in_place && ftruncate(fd, (off_t)memory->size) < 0)
        return error_errno(err, errno, path, "set the size of %s", path);
    return pages_find(&diff, data_bytes, err);
}
