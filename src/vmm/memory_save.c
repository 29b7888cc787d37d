/* SPDX-License-Identifier: Apache-2.0 */
/* Guest memory into a sparse file. Anonymous memory that was never touched is found in
 * /proc/self/pagemap and not read, because reading would give each such page a mapping; in a file
 * mapping a page without an entry has the file's content, so there every page is looked at. */
#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <string.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/file.h"
#include "vmm/memory.h"

#define RUN_LIMIT     (1u << 20) /* bytes of one write */
#define PAGEMAP_BATCH 512        /* entries of one read: 2 MiB of memory */

/* Documentation/admin-guide/mm/pagemap.rst */
#define PAGEMAP_PRESENT (1ull << 63)
#define PAGEMAP_SWAPPED (1ull << 62)

/* Neighbouring pages with data, collected until a page without any, or until the run is long. */
struct run {
    int fd;
    const char *path;
    const uint8_t *start; /* NULL: empty */
    size_t length;
    uint64_t offset;
    uint64_t written; /* bytes, of all runs */
};

static int run_flush(struct run *run, struct error *err)
{
    if (!run->start)
        return 0;
    int r = file_pwrite_exact(run->fd, run->start, run->length, run->offset, run->path, err);
    run->written += run->length;
    run->start = NULL;
    run->length = 0;
    return r;
}

static int run_add(struct run *run, const uint8_t *page, uint64_t offset, struct error *err)
{
    bool joins = run->start && run->length < RUN_LIMIT && run->start + run->length == page &&
                 run->offset + run->length == offset;
    if (!joins) {
        int r = run_flush(run, err);
        if (r < 0)
            return r;
        run->start = page;
        run->offset = offset;
    }
    run->length += GUEST_PAGE_SIZE;
    return 0;
}

static bool page_is_zero(const uint8_t *page)
{
    const uint64_t *words = (const uint64_t *)(const void *)page;
    for (unsigned i = 0; i < GUEST_PAGE_SIZE / sizeof(uint64_t); i += 8) {
        uint64_t any = words[i] | words[i + 1] | words[i + 2] | words[i + 3] | words[i + 4] |
                       words[i + 5] | words[i + 6] | words[i + 7];
        if (any != 0)
            return false;
    }
    return true;
}

/* Pages [first, first + count) of a region; `entries` is their pagemap, NULL: look at each. */
static int pages_save(const struct guest_region *region, uint64_t first, size_t count,
                      const uint64_t *entries, struct run *run, struct error *err)
{
    for (size_t i = 0; i < count; i++) {
        if (entries && !(entries[i] & (PAGEMAP_PRESENT | PAGEMAP_SWAPPED)))
            continue;
        uint64_t inside = (first + i) * GUEST_PAGE_SIZE;
        if (page_is_zero(region->host + inside))
            continue;
        int r = run_add(run, region->host + inside, region->file_offset + inside, err);
        if (r < 0)
            return r;
    }
    return 0;
}

static int region_save(const struct guest_region *region, int pagemap_fd, struct run *run,
                       struct error *err)
{
    uint64_t pages = region->size / GUEST_PAGE_SIZE;
    uint64_t entries[PAGEMAP_BATCH];
    for (uint64_t first = 0; first < pages; first += PAGEMAP_BATCH) {
        size_t count = pages - first < PAGEMAP_BATCH ? (size_t)(pages - first) : PAGEMAP_BATCH;
        if (pagemap_fd >= 0) {
            uint64_t page = (uint64_t)(uintptr_t)region->host / GUEST_PAGE_SIZE + first;
            int r = file_pread_exact(pagemap_fd, entries, count * sizeof(entries[0]),
                                     page * sizeof(entries[0]), "/proc/self/pagemap", err);
            if (r < 0)
                return r;
        }
        int r = pages_save(region, first, count, pagemap_fd >= 0 ? entries : NULL, run, err);
        if (r < 0)
            return r;
    }
    return run_flush(run, err);
}

int guest_memory_save(const struct guest_memory *memory, int fd, const char *path,
                      uint64_t *data_bytes, struct error *err)
{
    _cleanup_(close) int pagemap_fd = -1;
    if (!memory->from_file) {
        pagemap_fd = open("/proc/self/pagemap", O_RDONLY | O_CLOEXEC);
        if (pagemap_fd < 0)
            return error_errno(err, errno, "/proc/self/pagemap", "open /proc/self/pagemap");
    }
    /* First, not last: a file that grows write by write makes XFS allocate room behind each run,
     * and the holes fill up. */
    if (ftruncate(fd, (off_t)memory->size) < 0)
        return error_errno(err, errno, path, "set the size of %s", path);
    struct run run = {.fd = fd, .path = path};
    for (unsigned i = 0; i < memory->region_count; i++) {
        int r = region_save(&memory->regions[i], pagemap_fd, &run, err);
        if (r < 0)
            return r;
    }
    if (data_bytes)
        *data_bytes = run.written;
    return 0;
}
