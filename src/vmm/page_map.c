/* SPDX-License-Identifier: Apache-2.0 */
#include "vmm/page_map.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/ioctl.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "base/failpoint.h"
#include "base/file.h"
#include "vmm/memory.h"

#define PAGEMAP "/proc/self/pagemap"

/* Entries of the file. FILE: the page is the file's, or shared anonymous memory's. */
#define ENTRY_PRESENT (1ull << 63)
#define ENTRY_SWAPPED (1ull << 62)
#define ENTRY_FILE    (1ull << 61)

/* linux/fs.h has them from 6.7 on; the build need not. */
#define IS_FILE    (1ull << 2)
#define IS_PRESENT (1ull << 3)
#define IS_SWAPPED (1ull << 4)

struct scan {
    uint64_t size, flags;
    uint64_t start, end, walk_end;
    uint64_t runs, run_count, page_limit;
    uint64_t inverted, mask, any_of, returned;
};

#define SCAN _IOWR('f', 16, struct scan)

/* Asks for [map->next, map->end); the number of runs or a negative errno. */
static int scan(struct page_map *map)
{
    struct scan scan = {.size = sizeof(scan),
                        .start = map->next,
                        .end = map->end,
                        .runs = (uint64_t)(uintptr_t)map->answer.runs,
                        .run_count = PAGE_MAP_RUNS,
                        .inverted = map->shared ? 0 : IS_FILE,
                        .mask = IS_FILE,
                        .any_of = map->shared ? IS_PRESENT : IS_PRESENT | IS_SWAPPED,
                        .returned = IS_PRESENT | IS_SWAPPED};
    int count = ioctl(map->fd, SCAN, &scan);
    if (count < 0)
        return -errno;
    map->next = scan.walk_end;
    return count;
}

int page_map_open(struct page_map *map, struct error *err)
{
    map->fd = open(PAGEMAP, O_RDONLY | O_CLOEXEC);
    if (map->fd < 0)
        return error_errno(err, errno, PAGEMAP, "open " PAGEMAP);
    /* An empty question, to see whether it is understood. */
    page_map_begin(map, NULL, NULL);
    map->scans = failpoint("vmm-pagemap-scan") == 0 && scan(map) >= 0;
    return 0;
}

void page_map_close(struct page_map *map)
{
    if (map->fd >= 0)
        close(map->fd);
    map->fd = -1;
}

void page_map_begin(struct page_map *map, const uint8_t *start, const uint8_t *end)
{
    map->next = map->first = (uint64_t)(uintptr_t)start;
    map->end = (uint64_t)(uintptr_t)end;
    map->count = map->at = 0;
    map->shared = false;
}

void page_map_begin_shared(struct page_map *map, const uint8_t *start, const uint8_t *end)
{
    page_map_begin(map, start, end);
    map->shared = true;
}

static bool is_wanted(const struct page_map *map, uint64_t entry)
{
    if (map->shared)
        return (entry & ENTRY_PRESENT) && (entry & ENTRY_FILE);
    return (entry & (ENTRY_PRESENT | ENTRY_SWAPPED)) && !(entry & ENTRY_FILE);
}

static int ask_scan(struct page_map *map, struct error *err)
{
    int count = scan(map);
    if (count < 0)
        return error_errno(err, -count, PAGEMAP, "scan " PAGEMAP);
    map->count = (size_t)count;
    return 0;
}

static int ask_entries(struct page_map *map, struct error *err)
{
    uint64_t pages = (map->end - map->next) / GUEST_PAGE_SIZE;
    size_t count = pages < PAGE_MAP_BATCH ? (size_t)pages : PAGE_MAP_BATCH;
    int r = file_pread_exact(map->fd, map->answer.entries, count * sizeof(map->answer.entries[0]),
                             map->next / GUEST_PAGE_SIZE * sizeof(map->answer.entries[0]), PAGEMAP,
                             err);
    map->first = map->next;
    map->next += count * GUEST_PAGE_SIZE;
    map->count = count;
    return r;
}

/* The next run of the answer; 0: none is left in it. */
static int take_run(struct page_map *map, struct page_map_run *run)
{
    if (map->scans) {
        if (map->at < map->count)
            *run = map->answer.runs[map->at++];
        return run->end > 0;
    }
    while (map->at < map->count && !is_wanted(map, map->answer.entries[map->at]))
        map->at++;
    run->start = map->first + map->at * GUEST_PAGE_SIZE;
    while (map->at < map->count && is_wanted(map, map->answer.entries[map->at]))
        map->at++;
    run->end = map->first + map->at * GUEST_PAGE_SIZE;
    return run->end > run->start;
}

int page_map_next(struct page_map *map, const uint8_t **start, const uint8_t **end,
                  struct error *err)
{
    struct page_map_run run = {.end = 0};
    while (!take_run(map, &run)) {
        if (map->next >= map->end)
            return 0;
        map->count = map->at = 0;
        int r = map->scans ? ask_scan(map, err) : ask_entries(map, err);
        if (r < 0)
            return r;
    }
    *start = (const uint8_t *)(uintptr_t)run.start;
    *end = (const uint8_t *)(uintptr_t)run.end;
    return 1;
}
