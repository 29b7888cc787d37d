/* SPDX-License-Identifier: Apache-2.0 */
#include "base/cleanup.h"
#include "pager/crew.h"
#include "pager/fill.h"
#include "pager/fill_piece.h"
#include "pager/worker.h"

#define PIECES_MAX  128u
#define PIECE_PAGES 16u /* few enough that nobody waits long for who took the last one */

struct batch {
    struct session *session;
    bool checked;
    unsigned count;
    struct fill_piece pieces[PIECES_MAX];
    struct crew_piece calls[PIECES_MAX];
};

/* Cuts what is missing in the range into pieces, up to what is on its way; false if the source
 * can't be read. */
static bool batch_add(struct batch *batch, const struct region *region,
                      const struct page_range *range)
{
    const struct bitmap *present = &batch->session->block.present;
    struct error err = {0};
    for (uint64_t page = range->page; batch->count < PIECES_MAX;) {
        page = bitmap_next_clear(present, page, range->end);
        if (page >= range->end)
            return true;
        uint64_t missing = bitmap_next_set(present, page, range->end) - page;
        struct fill_piece *piece = &batch->pieces[batch->count];
        int r = fill_piece_find(batch->session, page, missing < PIECE_PAGES ? missing : PIECE_PAGES,
                                &batch->checked, piece, &err);
        if (r <= 0)
            return r == 0;
        batch->calls[batch->count++] = (struct crew_piece){
            .address = region_address(region, page),
            .length = piece->count << PAGE_SHIFT,
            .from = piece->from,
        };
        page += piece->count;
    }
    return true;
}

static uint64_t batch_mark(const struct batch *batch)
{
    uint64_t filled = 0;
    for (unsigned i = 0; i < batch->count; i++) {
        const struct uffd_result *result = &batch->calls[i].result;
        if (result->outcome != UFFD_FILLED)
            continue;
        fill_piece_mark(batch->session, &batch->pieces[i], result->filled >> PAGE_SHIFT);
        filled += result->filled >> PAGE_SHIFT;
    }
    return filled;
}

/* Whoever waits between the pieces for something else only looks again. */
static void batch_wake(const struct batch *batch)
{
    uint64_t lowest = UINT64_MAX, highest = 0;
    for (unsigned i = 0; i < batch->count; i++) {
        uint64_t end = batch->calls[i].address + batch->calls[i].length;
        lowest = batch->calls[i].address < lowest ? batch->calls[i].address : lowest;
        highest = end > highest ? end : highest;
    }
    uffd_wake(batch->session->uffd, lowest, highest - lowest);
}

uint64_t fill_together(struct session *session, const struct page_range *ranges, unsigned count)
{
    const struct region_table *table = session_block_regions(&session->block);
    struct batch batch;
    batch.session = session;
    batch.checked = false;
    batch.count = 0;
    for (unsigned i = 0; i < count; i++) {
        const struct region *region = regions_of_page(table, ranges[i].page);
        if (region && !batch_add(&batch, region, &ranges[i]))
            break;
    }
    if (batch.count == 0)
        return 0;
    worker_fill(session->worker, session->uffd, batch.calls, batch.count);
    for (unsigned i = 0; i < batch.count; i++)
        fill_piece_release(session, &batch.pieces[i]);
    uint64_t filled = batch_mark(&batch);
    batch_wake(&batch);
    return filled;
}
