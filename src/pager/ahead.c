/* SPDX-License-Identifier: Apache-2.0 */
/* Reading ahead of a stream of faults. */
#include <string.h>

#include "pager/background.h"
#include "pager/background_private.h"

void background_ahead(struct session *session, uint64_t page, uint64_t end)
{
    struct read_ahead *ahead = &session->ahead;
    if (page >= end || session->prefetch.active || session->complete.active)
        return; /* these come by there too */
    for (unsigned i = 0; i < ahead->count; i++) {
        if (ahead->ranges[i].end == page) {
            ahead->ranges[i].end = end;
            return;
        }
    }
    if (ahead->count == RUN_STREAMS) /* the oldest stream may have ended long ago */
        memmove(&ahead->ranges[0], &ahead->ranges[1], --ahead->count * sizeof(ahead->ranges[0]));
    ahead->ranges[ahead->count++] = (struct page_range){.page = page, .end = end};
    ahead->work.active = true;
}

static void forget_first(struct read_ahead *ahead)
{
    memmove(&ahead->ranges[0], &ahead->ranges[1], --ahead->count * sizeof(ahead->ranges[0]));
    ahead->work.active = ahead->count > 0;
}

void ahead_slice(struct session *session, uint64_t now_ns)
{
    struct read_ahead *ahead = &session->ahead;
    struct page_source *source = session->source;
    struct page_range *range = &ahead->ranges[0];
    struct error err = {0};
    uint64_t page = bitmap_next_clear(&session->block.present, range->page, range->end);
    uint64_t end = page + SLICE_PAGES < range->end ? page + SLICE_PAGES : range->end;
    end = background_end(session, page, end);
    if (end <= page) {
        forget_first(ahead);
        return;
    }
    if (!background_ready(session, &ahead->work, page, end - page, now_ns)) {
        source->ops->advise(source, page, background_end(session, page, range->end) - page);
        return;
    }
    struct fill_result fill =
        background_fill(session, &(struct page_range){.page = page, .end = end}, 1, &err);
    session_touched(session, page, end - page);
    /* The fault that comes there finds out what is wrong. */
    if (fill.status == FILL_AGAIN || fill.status == FILL_LATER)
        ahead->work.due_ns = now_ns + DEVICE_WAIT_NS;
    else if (fill.status != FILL_DONE || end >= range->end)
        forget_first(ahead);
    else
        range->page = end;
}
