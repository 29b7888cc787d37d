/* SPDX-License-Identifier: Apache-2.0 */
/* Where the pages of an image come from. The fault path knows only this; a raw file is one kind
 * (raw_source.h), a compressed one another (packed_source.h), and layers over these
 * (stack_source.h). Sources are shared by sessions of one
 * image and used by several threads at once; they are opened and given up on the control thread
 * only. */
#ifndef TINE_PAGER_PAGE_SOURCE_H
#define TINE_PAGER_PAGE_SOURCE_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/stat.h>

#include "base/error.h"

enum page_kind { PAGE_DATA, PAGE_ZERO };

/* What tells one image from another that took its place: kept with a session's state. */
struct page_source_identity {
    uint64_t size; /* bytes, whole pages */
    uint64_t
        version; /* of its content: from the times of its files, and what layers say they hold */
};

struct page_source;

struct page_source_ops {
    void (*destroy)(struct page_source *source);
    /* True if it is made of these very files, unchanged, lowest first. */
    bool (*is)(const struct page_source *source, const struct stat *files, unsigned count);
    /* The kind of `page`, and how many pages from there on (at most `limit`, at least one) are of
     * the same kind. A page of zeros may count as data. */
    uint64_t (*run)(struct page_source *source, uint64_t page, uint64_t limit,
                    enum page_kind *kind);
    /* -1 and `err` if the image is not what was opened any more; asked before pages are copied. */
    int (*check)(struct page_source *source, struct error *err);
    /* Memory to copy from, for pages of one run() of data: 1 and where it is, valid until it is
     * released; 0 if the pages are on their way: ask again when something has arrived (crew.h); -1
     * and `err` if they can't be had. Reading it with anything but the kernel's own copy may raise
     * SIGBUS. */
    int (*pages)(struct page_source *source, uint64_t page, uint64_t count, const void **from,
                 struct error *err);
    /* Any memory that is not of a pages() of this source is ignored. */
    void (*release)(struct page_source *source, const void *from);
    /* True if pages() of these is perhaps not mapped yet; asked once for every few pages. */
    bool (*unmapped)(struct page_source *source, uint64_t page, uint64_t count);
    /* Why the copy of a page failed: always an error. */
    int (*explain)(struct page_source *source, uint64_t page, struct error *err);
    /* Begins to fetch the pages, which are all in the image, without waiting. */
    void (*advise)(struct page_source *source, uint64_t page, uint64_t count);
    /* True if copying the pages waits for nothing. */
    bool (*resident)(struct page_source *source, uint64_t page, uint64_t count);
};

struct page_source {
    const struct page_source_ops *ops;
    struct page_source_identity identity;
    unsigned format; /* of the base: 0 raw, else 1 + enum stack_algorithm */
    unsigned references;
};

#endif
