/* SPDX-License-Identifier: Apache-2.0 */
#include "pager/background.h"

#include <inttypes.h>

#include "base/cleanup.h"
#include "base/log.h"
#include "pager/fill.h"
#include "pager/serve.h"
#include "pager/uffd.h"

#define SLICE_PAGES    64u
#define PIECE_COST     2u       /* of a piece of a slice, in pages */
#define AHEAD_PAGES    1024u    /* that are being fetched from the device */
#define DEVICE_WAIT_NS 1000000u /* between two looks whether they have come */
#define DEVICE_ROUNDS  100u     /* then the copy waits for them */
#define PASSES_MAX     8u       /* a VM that removes and touches faster is not completed */

static uint64_t smaller(uint64_t a, uint64_t b)
{
    return a < b ? a : b;
}

void background_prefetch(struct session *session, const struct touch_record *record)
{
    session->prefetch_record = record;
    session->prefetch = (struct background){.active = record->count > 0};
}

void background_complete(struct session *session, uint64_t bandwidth)
{
    if (session->state == SESSION_SERVING)
        session->complete = (struct background){.active = true};
    session->complete.bandwidth = bandwidth;
    session->state = SESSION_COMPLETING;
    session->prefetch.active = false; /* the rest includes it */
}

uint64_t background_due(const struct session *session)
{
    if (session->prefetch.active)
        return session->prefetch.due_ns;
    return session->complete.active ? session->complete.due_ns : UINT64_MAX;
}

/* True if the slice may be copied now; else it is looked at again later. */
static bool ready(struct session *session, struct background *work, uint64_t page, uint64_t count,
                  uint64_t now_ns)
{
    struct page_source *source = session->source;
    if (work->patience >= DEVICE_ROUNDS || source->ops->resident(source, page, count)) {
        work->patience = 0;
        return true;
    }
    work->patience++;
    work->due_ns = now_ns + DEVICE_WAIT_NS;
    return false;
}

/* What happened to a slice: true if the work can go on behind it. */
static bool went_well(struct session *session, struct background *work, enum fill_status status,
                      const struct error *err, const char *what, uint64_t now_ns)
{
    if (status == FILL_DONE)
        return true;
    if (status == FILL_AGAIN) {
        work->due_ns = now_ns + DEVICE_WAIT_NS;
        return false;
    }
    work->active = false;
    if (status == FILL_FAILED)
        log_warning("session %s: %s: %s", session->id, what, err->message);
    return false;
}

/* ---- by a record ---- */

static void prefetch_advise(struct session *session)
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

/* The end of the pages from `page` on that are in its region and were never given back. */
static uint64_t prefetch_end(const struct session *session, uint64_t page, uint64_t end)
{
    const struct region *region = regions_of_page(session_block_regions(&session->block), page);
    if (!region)
        return page;
    end = smaller(end, (region->offset + region->size) >> PAGE_SHIFT);
    uint64_t next = page;
    while (next < end && !bitmap_get(&session->block.removed, next))
        next++;
    return next;
}

/* One piece of the record's current run; what it cost of the slice. */
static unsigned prefetch_piece(struct session *session, uint64_t now_ns)
{
    struct background *work = &session->prefetch;
    const struct touch_run *run = &session->prefetch_record->runs[work->run];
    struct error err = {0};
    uint64_t run_end = run->page + run->count;
    uint64_t page = bitmap_next_clear(&session->block.present,
                                      run->page > work->page ? run->page : work->page, run_end);
    uint64_t end = prefetch_end(session, page, smaller(run_end, page + SLICE_PAGES));
    unsigned cost = 1;
    if (end > page) {
        if (!ready(session, work, page, end - page, now_ns)) {
            prefetch_advise(session);
            return cost;
        }
        struct fill_result fill = fill_pages(session, page, end, false, &err);
        session->block.header->counters.prefetched_pages += fill.filled;
        if (!went_well(session, work, fill.status, &err, "prefetch", now_ns))
            return cost;
        cost = PIECE_COST + (unsigned)(end - page);
    }
    work->page = end > page ? end : page + 1;
    if (work->page >= run_end) {
        work->page = 0;
        work->run++;
        work->active = work->run < session->prefetch_record->count;
    }
    return cost;
}

static void prefetch_slice(struct session *session, uint64_t now_ns)
{
    const struct background *work = &session->prefetch;
    for (unsigned spent = 0; spent < SLICE_PAGES && work->active && work->due_ns <= now_ns;)
        spent += prefetch_piece(session, now_ns);
}

/* ---- all of it ---- */

static void let_go(struct session *session)
{
    const struct region_table *table = session_block_regions(&session->block);
    struct error err = {0};
    session->complete.active = false;
    for (uint32_t i = 0; i < table->count; i++) {
        if (uffd_unregister(session->uffd, table->regions[i].base, table->regions[i].size, &err) <
            0) {
            session_fail(session, "complete: %s", err.message);
            return;
        }
    }
    /* The VM's other descriptor stays open: an event that nobody reads would hang it. */
    serve_drain_events(session);
    if (session->state == SESSION_COMPLETING)
        session->state = SESSION_COMPLETED;
}

static void failed_to_complete(struct session *session, const char *why)
{
    session->complete.active = false;
    session->state = SESSION_SERVING;
    snprintf(session->reason, sizeof(session->reason), "complete: %.480s", why);
    log_warning("session %s: %s", session->id, session->reason);
}

/* Every pass after the first asks the kernel for every page, whatever the bitmap says; the VM is
 * let go when one has found nothing to fill. */
static void next_pass(struct session *session)
{
    struct background *work = &session->complete;
    if (work->pass > 0 && work->pass_found == 0) {
        let_go(session);
        return;
    }
    if (work->pass > PASSES_MAX) {
        failed_to_complete(session, "the VM's memory changes too fast");
        return;
    }
    work->pass++;
    work->pass_found = 0;
    work->page = work->advised = 0;
}

static const struct region *region_from(const struct session *session, uint64_t page)
{
    const struct region_table *table = session_block_regions(&session->block);
    const struct region *next = regions_of_page(table, page);
    for (uint32_t i = 0; !next && i < table->count; i++) {
        const struct region *region = &table->regions[i];
        if (region->offset >> PAGE_SHIFT > page && (!next || region->offset < next->offset))
            next = region;
    }
    return next;
}

static void complete_advise(struct session *session, uint64_t page, uint64_t end)
{
    struct background *work = &session->complete;
    if (work->advised >= smaller(end, page + AHEAD_PAGES / 2))
        return;
    uint64_t from = work->advised > page ? work->advised : page;
    work->advised = smaller(end, page + AHEAD_PAGES);
    session->source->ops->advise(session->source, from, work->advised - from);
}

static void forget_present(struct session *session, uint64_t page, uint64_t end)
{
    for (; page < end; page++)
        bitmap_clear(&session->block.present, page);
}

static void pace(struct background *work, uint64_t pages, uint64_t now_ns)
{
    work->due_ns = 0;
    if (work->bandwidth > 0)
        work->due_ns = now_ns + (pages << PAGE_SHIFT) * 1000000000u / work->bandwidth;
}

static void complete_slice(struct session *session, uint64_t now_ns)
{
    struct background *work = &session->complete;
    struct error err = {0};
    const struct region *region = region_from(session, work->page);
    if (!region) {
        next_pass(session);
        return;
    }
    uint64_t first = region->offset >> PAGE_SHIFT, last = first + (region->size >> PAGE_SHIFT);
    uint64_t page = work->page > first ? work->page : first;
    if (work->pass == 0)
        page = bitmap_next_clear(&session->block.present, page, last);
    uint64_t end = smaller(last, page + SLICE_PAGES);
    if (page < end && !ready(session, work, page, end - page, now_ns)) {
        complete_advise(session, page, last);
        return;
    }
    if (work->pass > 0)
        forget_present(session, page, end);
    struct fill_result fill = fill_pages(session, page, end, true, &err);
    session->block.header->counters.completed_pages += fill.filled;
    work->pass_found += fill.filled;
    pace(work, fill.filled, now_ns);
    if (went_well(session, work, fill.status, &err, "complete", now_ns))
        work->page = end;
    else if (fill.status == FILL_FAILED)
        failed_to_complete(session, err.message);
}

void background_slice(struct session *session, uint64_t now_ns)
{
    if (session->prefetch.active && session->prefetch.due_ns <= now_ns)
        prefetch_slice(session, now_ns);
    else if (!session->prefetch.active && session->complete.active &&
             session->complete.due_ns <= now_ns)
        complete_slice(session, now_ns);
}
