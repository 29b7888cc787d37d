/* SPDX-License-Identifier: Apache-2.0 */
#include "pager/fill.h"

#include <string.h>

#include "base/cleanup.h"
#include "pager/uffd.h"

/* Pages of one kind that one call can fill. */
struct piece {
    enum { PIECE_COPY, PIECE_ZERO } kind;
    uint64_t page, count;
    const void *from; /* PIECE_COPY */
};

struct filler {
    struct session *session;
    const struct region *region;
    bool skip_zero;
    bool asleep; /* pages were filled without waking who waits for them */
    uint64_t filled;
    struct error *err;
};

/* How many of [page, end) are removed like `page`, or not removed like it. */
static uint64_t same_removed(const struct session *session, uint64_t page, uint64_t end)
{
    bool removed = bitmap_get(&session->block.removed, page);
    uint64_t next = page + 1;
    while (next < end && bitmap_get(&session->block.removed, next) == removed)
        next++;
    return next - page;
}

static uint64_t until_overlay(const struct session *session, uint64_t page, uint64_t count)
{
    const struct session_block_header *header = session->block.header;
    for (uint32_t i = 0; i < header->overlay_count; i++) {
        uint64_t overlay = header->overlay_pages[i];
        if (overlay > page && overlay - page < count)
            count = overlay - page;
    }
    return count;
}

/* The longest piece from `page` on within `count` missing pages. What the peer has given back is
 * zero before all else. */
static int piece_find(const struct filler *filler, uint64_t page, uint64_t count,
                      struct piece *piece)
{
    struct session *session = filler->session;
    struct page_source *source = session->source;
    enum page_kind kind = PAGE_ZERO;
    *piece = (struct piece){.kind = PIECE_ZERO, .page = page};
    piece->count = same_removed(session, page, page + count);
    if (bitmap_get(&session->block.removed, page))
        return 0;
    piece->from = session_block_overlay(&session->block, page);
    if (piece->from) {
        piece->kind = PIECE_COPY;
        piece->count = 1;
        return 0;
    }
    piece->count = until_overlay(session, page, piece->count);
    piece->count = source->ops->run(source, page, piece->count, &kind);
    if (kind == PAGE_ZERO)
        return 0;
    piece->kind = PIECE_COPY;
    piece->from = source->ops->pages(source, page, piece->count, filler->err);
    return piece->from ? 0 : -1;
}

static uint64_t address_of(const struct filler *filler, uint64_t page)
{
    return filler->region->base + ((page << PAGE_SHIFT) - filler->region->offset);
}

static struct uffd_result piece_fill(const struct filler *filler, const struct piece *piece,
                                     bool wake)
{
    uint64_t address = address_of(filler, piece->page), length = piece->count << PAGE_SHIFT;
    return piece->kind == PIECE_COPY
               ? uffd_copy(filler->session->uffd, address, piece->from, length, wake)
               : uffd_zero(filler->session->uffd, address, length, wake);
}

static void mark_filled(struct filler *filler, const struct piece *piece, uint64_t pages)
{
    struct session_block *block = &filler->session->block;
    for (uint64_t i = 0; i < pages; i++)
        bitmap_set(&block->present, piece->page + i);
    *(piece->kind == PIECE_COPY ? &block->header->counters.copied_pages
                                : &block->header->counters.zero_pages) += pages;
    filler->filled += pages;
}

/* Somebody was faster, or the bitmap did not know; who waits for the page looks again. */
static void mark_present(struct filler *filler, uint64_t page)
{
    struct session_block *block = &filler->session->block;
    bitmap_set(&block->present, page);
    block->header->counters.already_present++;
    uffd_wake(filler->session->uffd, address_of(filler, page), PAGE_SIZE);
}

/* Nothing is filled, or a page at a time: a call for several does not say which of them it is. */
static enum fill_status piece_refused(struct filler *filler, const struct piece *piece,
                                      const struct uffd_result *result)
{
    struct session *session = filler->session;
    switch (result->outcome) {
    case UFFD_AGAIN:
        return FILL_AGAIN;
    case UFFD_UNMAPPED:
        /* The peer's thread gets what an access to nothing deserves. */
        uffd_wake(session->uffd, address_of(filler, piece->page), PAGE_SIZE);
        return FILL_DONE;
    case UFFD_GONE:
        session->state = SESSION_ENDED;
        return FILL_OVER;
    case UFFD_SOURCE:
        session->source->ops->explain(session->source, piece->page, filler->err);
        return FILL_FAILED;
    default:
        error_errno(filler->err, result->errnum, NULL, "fill page %llu",
                    (unsigned long long)piece->page);
        return FILL_FAILED;
    }
}

/* One piece at `*page`, of `count` missing pages; moves on behind what is settled. */
static enum fill_status step(struct filler *filler, uint64_t *page, uint64_t count, uint64_t end)
{
    struct piece piece;
    if (piece_find(filler, *page, count, &piece) < 0)
        return FILL_FAILED;
    if (piece.kind == PIECE_ZERO && filler->skip_zero) {
        *page += piece.count;
        return FILL_DONE;
    }
    /* A thread that is woken by the first of several pieces runs into the next one before it is
     * there, and asks for what is on its way. */
    bool wake = !filler->asleep && piece.page + piece.count == end;
    filler->asleep |= !wake;
    struct uffd_result result = piece_fill(filler, &piece, wake);
    if (piece.count > 1 && (result.outcome == UFFD_UNMAPPED || result.outcome == UFFD_SOURCE)) {
        piece.count = 1;
        result = piece_fill(filler, &piece, wake);
    }
    if (result.outcome == UFFD_FILLED) {
        mark_filled(filler, &piece, result.filled >> PAGE_SHIFT);
        *page += result.filled >> PAGE_SHIFT;
        return FILL_DONE;
    }
    enum fill_status status = FILL_DONE;
    if (result.outcome == UFFD_PRESENT)
        mark_present(filler, piece.page);
    else
        status = piece_refused(filler, &piece, &result);
    *page += status == FILL_DONE ? 1 : 0;
    return status;
}

/* How many pages from `page` on are missing. */
static uint64_t missing(const struct session *session, uint64_t page, uint64_t end)
{
    uint64_t next = page;
    while (next < end && !bitmap_get(&session->block.present, next))
        next++;
    return next - page;
}

struct fill_result fill_pages(struct session *session, uint64_t page, uint64_t end, bool skip_zero,
                              struct error *err)
{
    struct filler filler = {.session = session, .skip_zero = skip_zero, .err = err};
    filler.region = regions_of_page(session_block_regions(&session->block), page);
    enum fill_status status = filler.region ? FILL_DONE : FILL_OVER;
    if (!filler.region)
        return (struct fill_result){.status = FILL_DONE}; /* the peer has given it up */
    uint64_t first = page;
    while (status == FILL_DONE) {
        page = bitmap_next_clear(&session->block.present, page, end);
        if (page >= end)
            break;
        status = step(&filler, &page, missing(session, page, end), end);
    }
    if (filler.asleep && page > first)
        uffd_wake(session->uffd, address_of(&filler, first), (page - first) << PAGE_SHIFT);
    return (struct fill_result){.status = status, .filled = filler.filled};
}
