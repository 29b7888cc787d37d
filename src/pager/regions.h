/* SPDX-License-Identifier: Apache-2.0 */
/* Where the pages of an image are in the peer's memory. What comes in is hostile. */
#ifndef TINE_PAGER_REGIONS_H
#define TINE_PAGER_REGIONS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/error.h"

#define REGIONS_MAX      64u
#define IMAGE_SIZE_LIMIT (1ull << 44) /* bytes */

struct region {
    uint64_t base;   /* address in the peer */
    uint64_t size;   /* bytes */
    uint64_t offset; /* in the image, bytes */
};

struct region_table {
    uint32_t count;
    uint32_t reserved;
    struct region regions[REGIONS_MAX];
};

/* Reads what Firecracker sends: an array of objects {"base_host_virt_addr", "size", "offset",
 * "page_size" and its older spelling "page_size_kib", which are bytes both}; other fields are
 * ignored. -EAGAIN (and no `err`) if the text so far is only the beginning of such an array. */
int regions_parse(const char *text, size_t length, struct region_table *table, struct error *err);

/* Checks a table, wherever it is from, against the image: between one and REGIONS_MAX regions, page
 * aligned, inside the image and the address space, no two overlapping in memory or in the image.
 * ERROR_INVALID names the region. */
int regions_check(const struct region_table *table, uint64_t image_size, struct error *err);

/* The region that holds the address, or NULL. */
const struct region *regions_at(const struct region_table *table, uint64_t address);
/* The region that holds that page of the image, or NULL. */
const struct region *regions_of_page(const struct region_table *table, uint64_t page);

/* The peer has moved [from, from + length) to `to`, or (regions_unmap()) given it up. The pages
 * keep their place in the image. -E2BIG if that takes more than REGIONS_MAX regions; the table is
 * unchanged then. */
int regions_move(struct region_table *table, uint64_t from, uint64_t to, uint64_t length);
int regions_unmap(struct region_table *table, uint64_t start, uint64_t end);

#endif
