/* SPDX-License-Identifier: Apache-2.0 */
#include "pager/background.h"

#include <inttypes.h>

#include "base/cleanup.h"
#include "base/log.h"
#include "pager/background_private.h"
#include "pager/fill.h"
#include "pager/serve.h"
#include "pager/uffd.h"

#define DEVICE_ROUNDS 100u /* then the copy waits for them */
/* Where so many slices in a row were there already, only one of so many is looked at. */
#define WARM_LOOKS 32u
#define WARM_SKIP  8u
#define PASSES_MAX 8u /* a VM that removes and touches faster is not completed */

static uint64_t smaller(uint64_t a, uint64_t b)
{
    return a < b ? a : b;
}

void background_complete(struct session *session, uint64_t bandwidth)
{
    if (session->state == SESSION_SERVING)
        session->complete = (struct background){.active = true};
    session->complete.bandwidth = bandwidth;
    session->state = SESSION_COMPLETING;
    session->prefetch.active = false; /* the rest includes it */
    session->ahead.work.active = false;
    session->ahead.count = 0;
}

uint64_t background_due(const struct session *session)
{
    if (session->ahead.work.active)
        return session->ahead.work.due_ns;
    if (session->prefetch.active)
        return session->prefetch.due_ns;
    return session->complete.active ? session->complete.due_ns : UINT64_MAX;
}

bool background_ready(struct session *session, struct background *work, uint64_t page,
                      uint64_t count, uint64_t now_ns)
{
    struct page_source *source = session->source;
    if (work->warm >= WARM_LOOKS && ++work->unseen < WARM_SKIP)
        return true;
    work->unseen = 0;
    if (work->patience >= DEVICE_ROUNDS || source->ops->resident(source, page, count)) {
        work->warm += work->patience == 0 ? 1 : 0;
        work->patience = 0;
        return true;
    }
    work->warm = 0;
    work->patience++;
    work->due_ns = now_ns + DEVICE_WAIT_NS;
    return false;
}

bool background_went_well(struct session *session, struct background *work, enum fill_status status,
                          const struct error *err, const char *what, uint64_t now_ns)
{
    if (status == FILL_DONE)
        return true;
    if (status == FILL_AGAIN || status == FILL_LATER) {
        work->due_ns = now_ns + DEVICE_WAIT_NS;
        return false;
    }
    work->active = false;
    if (status == FILL_FAILED)
        log_warning("session %s: %s: %s", session->id, what, err->message);
    return false;
}

uint64_t background_end(const struct session *session, uint64_t page, uint64_t end)
{
    const struct region *region = regions_of_page(session_block_regions(&session->block), page);
    if (!region)
        return page;
    end = smaller(end, (region->offset + region->size) >> PAGE_SHIFT);
    return bitmap_next_set(&session->block.removed, page, end);
}

struct fill_result background_fill(struct session *session, const struct page_range *ranges,
                                   unsigned count, struct error *err)
{
    struct fill_result all = {.status = FILL_DONE};
    all.filled = fill_together(session, ranges, count);
    for (unsigned i = 0; i < count && all.status == FILL_DONE; i++) {
        struct fill_result rest = fill_pages(session, ranges[i].page, ranges[i].end, false, err);
        all.status = rest.status;
        all.filled += rest.filled;
    }
    return all;
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
    if (session->state != SESSION_COMPLETING)
        return;
    session->state = SESSION_COMPLETED;
    session_block_complete(&session->block);
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
    if (page < end && !background_ready(session, work, page, end - page, now_ns)) {
        complete_advise(session, page, last);
        return;
    }
    if (work->pass > 0)
        forget_present(session, page, end);
    struct fill_result fill = fill_pages(session, page, end, true, &err);
    session->block.header->counters.completed_pages += fill.filled;
    work->pass_found += fill.filled;
    pace(work, fill.filled, now_ns);
    if (background_went_well(session, work, fill.status, &err, "complete", now_ns))
        work->page = end;
    else if (fill.status == FILL_FAILED)
        failed_to_complete(session, err.message);
}

void background_slice(struct session *session, uint64_t now_ns)
{
    if (background_due(session) > now_ns)
        return;
    if (session->ahead.work.active)
        ahead_slice(session, now_ns);
    else if (session->prefetch.active)
        prefetch_slice(session, now_ns);
    else
        complete_slice(session, now_ns);
}
