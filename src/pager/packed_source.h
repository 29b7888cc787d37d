/* SPDX-License-Identifier: Apache-2.0 */
/* A compressed image as a page source: pages are copied from chunks that the cache has decoded
 * (chunk_cache.h), zeros that the index names need none. */
#ifndef TINE_PAGER_PACKED_SOURCE_H
#define TINE_PAGER_PACKED_SOURCE_H

#include <sys/stat.h>

#include "pager/chunk_cache.h"
#include "pager/page_source.h"

/* What the lowest file of an image is. Only who asks for it knows: by its content a guest's memory
 * could pass for anything. */
struct base_format {
    bool packed; /* else raw */
    enum stack_algorithm algorithm;
    struct chunk_cache *cache; /* borrowed */
};

/* As a page source's `format`. */
static inline unsigned base_format_number(const struct base_format *base)
{
    return base->packed ? 1 + (unsigned)base->algorithm : 0;
}

/* `fd`, `st` and `label` are borrowed. ERROR_CORRUPT if the file is damaged, ERROR_UNSUPPORTED if
 * it has no index, ERROR_INVALID if its image is no number of pages. */
struct page_source *packed_source_open(int fd, const struct stat *st, const char *label,
                                       const struct base_format *base, struct error *err);

#endif
