/* SPDX-License-Identifier: Apache-2.0 */
#include "pager/fill.h"

#include <string.h>

#include "base/cleanup.h"
#include "pager/fill_piece.h"
#include "pager/uffd.h"

struct filler {
    struct session *session;
    const struct region *region;
    bool skip_zero;
    bool checked; /* the source is what it was */
    bool asleep;  /* pages were filled without waking who waits for them */
    uint64_t filled;
    struct error *err;
};

static uint64_t address_of(const struct filler *filler, uint64_t page)
{
    return region_address(filler->region, page);
}

static struct uffd_result piece_fill(const struct filler *filler, const struct fill_piece *piece,
                                     bool wake)
{
    uint64_t address = address_of(filler, piece->page), length = piece->count << PAGE_SHIFT;
    if (piece->unmapped)
        uffd_source_map(piece->from, length);
    return uffd_fill(filler->session->uffd, address, piece->from, length, wake);
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
static enum fill_status piece_refused(struct filler *filler, const struct fill_piece *piece,
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

/* Moves on behind what is settled. */
static enum fill_status piece_settle(struct filler *filler, struct fill_piece piece, uint64_t end,
                                     uint64_t *page)
{
    if (!piece.from && filler->skip_zero) {
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
        fill_piece_mark(filler->session, &piece, result.filled >> PAGE_SHIFT);
        filler->filled += result.filled >> PAGE_SHIFT;
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

/* One piece at `*page`, of `count` missing pages. */
static enum fill_status step(struct filler *filler, uint64_t *page, uint64_t count, uint64_t end)
{
    struct fill_piece piece;
    int r = fill_piece_find(filler->session, *page, count, &filler->checked, &piece, filler->err);
    if (r <= 0)
        return r < 0 ? FILL_FAILED : FILL_LATER;
    enum fill_status status = piece_settle(filler, piece, end, page);
    fill_piece_release(filler->session, &piece);
    return status;
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
        uint64_t missing = bitmap_next_set(&session->block.present, page, end) - page;
        status = step(&filler, &page, missing, end);
    }
    if (filler.asleep && page > first)
        uffd_wake(session->uffd, address_of(&filler, first), (page - first) << PAGE_SHIFT);
    return (struct fill_result){.status = status, .filled = filler.filled};
}
