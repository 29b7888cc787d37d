/* SPDX-License-Identifier: Apache-2.0 */
/* Filling by a record of what siblings touched first. */
#include "pager/background.h"
#include "pager/background_private.h"

#define RANGES_MAX 128u
#define LOOKS_MAX  512u /* runs that one slice looks at, for those that are there already */

struct gathered {
    struct page_range ranges[RANGES_MAX];
    unsigned count;
    uint64_t pages;
    uint32_t run;  /* the work goes on there, */
    uint64_t page; /* not before that page of it */
};

void background_prefetch(struct session *session, const struct touch_record *record)
{
    session->prefetch_record = record;
    session->prefetch = (struct background){.active = record->count > 0};
}

static void advise(struct session *session)
{
    const struct touch_record *record = session->prefetch_record;
    struct background *work = &session->prefetch;
    struct page_source *source = session->source;
    uint64_t ahead = 0;
    for (uint32_t i = work->run; i < record->count && ahead < AHEAD_PAGES; i++) {
        const struct touch_run *run = &record->runs[i];
        if (i >= work->advised)
            source->ops->advise(source, run->page, run->count);
        work->advised = work->advised > i + 1u ? work->advised : i + 1u;
        ahead += run->count;
    }
}

/* The next missing pages of the current run, if there are some; false if they are on the device. */
static bool gather_piece(struct session *session, struct gathered *all, uint64_t now_ns)
{
    const struct touch_run *run = &session->prefetch_record->runs[all->run];
    uint64_t run_end = run->page + run->count, room = SLICE_PAGES - all->pages;
    uint64_t page = bitmap_next_clear(&session->block.present,
                                      run->page > all->page ? run->page : all->page, run_end);
    uint64_t end = background_end(session, page, run_end - page < room ? run_end : page + room);
    if (end > page) {
        if (!background_ready(session, &session->prefetch, page, end - page, now_ns))
            return false;
        all->ranges[all->count++] = (struct page_range){.page = page, .end = end};
        all->pages += end - page;
    }
    all->page = end > page ? end : page + 1;
    if (all->page >= run_end) {
        all->page = 0;
        all->run++;
    }
    return true;
}

static void gather(struct session *session, struct gathered *all, uint64_t now_ns)
{
    uint32_t runs = session->prefetch_record->count;
    all->run = session->prefetch.run;
    all->page = session->prefetch.page;
    for (unsigned i = 0;
         i < LOOKS_MAX && all->run < runs && all->pages < SLICE_PAGES && all->count < RANGES_MAX;
         i++) {
        if (!gather_piece(session, all, now_ns)) {
            advise(session);
            return;
        }
    }
}

void prefetch_slice(struct session *session, uint64_t now_ns)
{
    struct background *work = &session->prefetch;
    struct gathered all = {0};
    struct error err = {0};
    gather(session, &all, now_ns);
    struct fill_result fill = background_fill(session, all.ranges, all.count, &err);
    session->block.header->counters.prefetched_pages += fill.filled;
    if (!background_went_well(session, work, fill.status, &err, "prefetch", now_ns))
        return;
    work->run = all.run;
    work->page = all.page;
    work->active = work->run < session->prefetch_record->count;
}
