/* SPDX-License-Identifier: Apache-2.0 */
/* What one call can fill: pages of one kind that lie together. */
#ifndef TINE_PAGER_FILL_PIECE_H
#define TINE_PAGER_FILL_PIECE_H

#include <stdbool.h>
#include <stdint.h>

#include "pager/session.h"

struct fill_piece {
    uint64_t page, count;
    const void *from; /* NULL: zeros */
    bool unmapped;    /* what to copy is perhaps not mapped */
    bool held;        /* `from` is the source's, until the piece is released */
};

/* The longest piece from `page` on within `count` missing pages of one region. What the peer has
 * given back is zero before all else. 1: there it is. 0: its pages are on their way
 * (page_source.h). -1 and `err`: the source can't be read; it is checked before the first piece
 * that is copied from it, unless `checked` already. */
int fill_piece_find(const struct session *session, uint64_t page, uint64_t count, bool *checked,
                    struct fill_piece *piece, struct error *err);
/* It is copied, or is not going to be. */
void fill_piece_release(const struct session *session, const struct fill_piece *piece);
/* The first `pages` of the piece are there now. */
void fill_piece_mark(struct session *session, const struct fill_piece *piece, uint64_t pages);

static inline uint64_t region_address(const struct region *region, uint64_t page)
{
    return region->base + ((page << PAGE_SHIFT) - region->offset);
}

#endif
