/* SPDX-License-Identifier: Apache-2.0 */
#include "pager/fill_piece.h"

/* How many of [page, end) are removed like `page`, or not removed like it. */
static uint64_t same_removed(const struct session *session, uint64_t page, uint64_t end)
{
    const struct bitmap *removed = &session->block.removed;
    return bitmap_next(removed, page + 1, end, !bitmap_get(removed, page)) - page;
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

int fill_piece_find(const struct session *session, uint64_t page, uint64_t count, bool *checked,
                    struct fill_piece *piece, struct error *err)
{
    struct page_source *source = session->source;
    enum page_kind kind = PAGE_ZERO;
    *piece = (struct fill_piece){.page = page};
    piece->count = same_removed(session, page, page + count);
    if (bitmap_get(&session->block.removed, page))
        return 1;
    piece->from = session_block_overlay(&session->block, page);
    if (piece->from) {
        piece->count = 1;
        return 1;
    }
    piece->count = until_overlay(session, page, piece->count);
    piece->count = source->ops->run(source, page, piece->count, &kind);
    if (kind == PAGE_ZERO)
        return 1;
    if (!*checked && source->ops->check(source, err) < 0)
        return -1;
    *checked = true;
    int r = source->ops->pages(source, page, piece->count, &piece->from, err);
    piece->held = r > 0;
    piece->unmapped = r > 0 && source->ops->unmapped(source, page, piece->count);
    return r;
}

void fill_piece_release(const struct session *session, const struct fill_piece *piece)
{
    if (piece->held)
        session->source->ops->release(session->source, piece->from);
}

void fill_piece_mark(struct session *session, const struct fill_piece *piece, uint64_t pages)
{
    struct session_block *block = &session->block;
    for (uint64_t i = 0; i < pages; i++)
        bitmap_set(&block->present, piece->page + i);
    *(piece->from ? &block->header->counters.copied_pages : &block->header->counters.zero_pages) +=
        pages;
}
