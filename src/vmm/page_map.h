/* SPDX-License-Identifier: Apache-2.0 */
/* Which pages of a mapping are this process's own: in a private file mapping those that differ, or
 * may differ, from the file; in anonymous memory those that were ever touched. A page that is
 * swapped out counts. Or which are mapped and still the file's; the kernel may have mapped some of
 * them along with a neighbour. It tells, for each page, by PAGEMAP_SCAN (since 6.7) or in
 * /proc/self/pagemap (Documentation/admin-guide/mm/pagemap.rst). */
#ifndef TINE_VMM_PAGE_MAP_H
#define TINE_VMM_PAGE_MAP_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/error.h"

#define PAGE_MAP_BATCH 512u /* entries of one read: 2 MiB of memory */
#define PAGE_MAP_RUNS  128u /* of one scan */

/* struct page_region of PAGEMAP_SCAN. */
struct page_map_run {
    uint64_t start, end; /* addresses */
    uint64_t categories;
};

struct page_map {
    int fd;
    bool scans;         /* PAGEMAP_SCAN works */
    bool shared;        /* the file's pages are asked for, else our own */
    uint64_t next, end; /* not asked for yet */
    /* What the last question was answered with, and where in it we are. */
    uint64_t first;
    size_t count, at;
    union {
        uint64_t entries[PAGE_MAP_BATCH];
        struct page_map_run runs[PAGE_MAP_RUNS];
    } answer;
};

/* Opens /proc/self/pagemap and finds out what the kernel can. */
int page_map_open(struct page_map *map, struct error *err);
void page_map_close(struct page_map *map);
/* Looks for own pages in [start, end) from now on; page aligned. */
void page_map_begin(struct page_map *map, const uint8_t *start, const uint8_t *end);
/* The same for pages that are mapped and the file's. */
void page_map_begin_shared(struct page_map *map, const uint8_t *start, const uint8_t *end);
/* The next run of such pages, in ascending order: 1 and its place, 0 there is none left.
 * Neighbouring pages may come in several runs. */
int page_map_next(struct page_map *map, const uint8_t **start, const uint8_t **end,
                  struct error *err);

static inline void cleanup_page_map(struct page_map *map)
{
    page_map_close(map);
}

#endif
