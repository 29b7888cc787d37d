/* SPDX-License-Identifier: Apache-2.0 */
#include "pager/serve.h"

#include <errno.h>
#include <inttypes.h>
#include <sched.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/log.h"
#include "pager/background.h"
#include "pager/fill.h"
#include "pager/uffd.h"

#define WAITING_MAX    65536u
#define TOGETHER_PAGES 64u /* where help is worth while */
#define ROUNDS_MAX     16u /* then the worker's other sessions have their turn */
#define RETRY_SPINS    32u /* tries of one turn */
#define RETRY_WAIT_NS  500000u

static bool is_served(const struct session *session)
{
    return session->state == SESSION_SERVING || session->state == SESSION_COMPLETING;
}

/* ---- faults ---- */

static bool waiting_grow(struct waiting_faults *waiting)
{
    uint32_t capacity = waiting->capacity ? 2 * waiting->capacity : 64;
    if (capacity > WAITING_MAX)
        return false;
    struct waiting_fault *faults = reallocarray(waiting->faults, capacity, sizeof(*faults));
    if (!faults)
        return false;
    waiting->faults = faults;
    waiting->capacity = capacity;
    return true;
}

/* Where there is no room to remember a fault, its thread is let go to raise it again. */
static void wait_with(struct session *session, struct waiting_faults *waiting,
                      const struct waiting_fault *fault)
{
    if (waiting->count == waiting->capacity && !waiting_grow(waiting))
        uffd_wake(session->uffd, fault->address, PAGE_SIZE);
    else
        waiting->faults[waiting->count++] = *fault;
}

static void pend(struct session *session, const struct waiting_fault *fault)
{
    session->block.header->counters.retried++;
    wait_with(session, &session->pending, fault);
}

static bool is_present(const struct session *session, const struct region *region, uint64_t page)
{
    uint64_t first = region->offset >> PAGE_SHIFT;
    return page >= first && page < first + (region->size >> PAGE_SHIFT) &&
           bitmap_get(&session->block.present, page);
}

/* The pages to fill for a fault at `page`: a run from there on, or, where the peer comes down from
 * above, up to there. What a stream will need behind them is filled soon after. */
static void window(struct session *session, const struct region *region, uint64_t page,
                   uint64_t *start, uint64_t *end)
{
    uint64_t first = region->offset >> PAGE_SHIFT;
    uint64_t last = first + (region->size >> PAGE_SHIFT);
    bool before = is_present(session, region, page - 1);
    bool behind = is_present(session, region, page + 1);
    struct run_plan plan = run_length_next(&session->runs, page, before || behind);
    *start = page;
    *end = last - page < plan.length ? last : page + plan.length;
    if (behind && !before) {
        *start = page - first < plan.length ? first : page + 1 - plan.length;
        *end = page + 1;
    }
    background_ahead(session, plan.ahead, plan.end);
}

/* A fault outside the regions: of memory that the peer has moved or given up since, whose thread
 * gets what it deserves when it looks again; or of memory that it registered and never told of. */
static void answer_stray(struct session *session, const struct waiting_fault *fault)
{
    uint64_t address = fault->address;
    enum uffd_outcome outcome = uffd_probe(session->uffd, address);
    if (outcome == UFFD_AGAIN)
        pend(session, fault);
    else if (outcome == UFFD_SOURCE)
        session_fail(session, "a fault at 0x%" PRIx64 ", outside the regions", address);
    else
        uffd_wake(session->uffd, address, PAGE_SIZE);
}

/* What there is of the window that the fault was to get. */
static void answer(struct session *session, const struct region *region,
                   const struct waiting_fault *fault)
{
    struct error err = {0};
    uint64_t first = region->offset >> PAGE_SHIFT, last = first + (region->size >> PAGE_SHIFT);
    uint64_t page = (region->offset + (fault->address - region->base)) >> PAGE_SHIFT;
    uint64_t start = page - first < fault->before ? first : page - fault->before;
    uint64_t end = last - page < fault->behind ? last : page + fault->behind;
    /* A thread waits there, so whatever the bitmap says is asked of the kernel. */
    bitmap_clear(&session->block.present, page);
    uint64_t filled = 0;
    if (end - start >= TOGETHER_PAGES)
        filled = fill_together(session, &(struct page_range){.page = start, .end = end}, 1);
    struct fill_result fill = fill_pages(session, start, end, false, &err);
    if (filled + fill.filled > 0)
        session_touched(session, start, end - start);
    /* What goes wrong with a neighbour, or takes its time, is its own fault's matter. */
    if ((fill.status == FILL_FAILED || fill.status == FILL_LATER) && start < page)
        fill = fill_pages(session, page, page + 1, false, &err);
    if (bitmap_get(&session->block.present, page))
        return;
    if (fill.status == FILL_AGAIN)
        pend(session, fault);
    else if (fill.status == FILL_LATER)
        wait_with(session, &session->awaited, fault);
    else if (fill.status == FILL_FAILED)
        session_fail(session, "%s", err.message);
}

static void answer_again(struct session *session, const struct waiting_fault *fault)
{
    const struct region *region =
        regions_at(session_block_regions(&session->block), fault->address);
    if (region)
        answer(session, region, fault);
    else
        answer_stray(session, fault);
}

static void answer_fault(struct session *session, uint64_t address)
{
    struct waiting_fault fault = {.address = address, .behind = 1};
    const struct region *region = regions_at(session_block_regions(&session->block), address);
    if (!region) {
        answer_stray(session, &fault);
        return;
    }
    uint64_t page = (region->offset + (address - region->base)) >> PAGE_SHIFT;
    uint64_t start = 0, end = 0;
    window(session, region, page, &start, &end);
    fault.before = (uint32_t)(page - start);
    fault.behind = (uint32_t)(end - page);
    answer(session, region, &fault);
}

/* ---- the peer's changes to its memory ---- */

static void forget_pages(struct session *session, uint64_t start, uint64_t end)
{
    struct session_block *block = &session->block;
    const struct region_table *table = session_block_regions(block);
    for (uint32_t i = 0; i < table->count; i++) {
        const struct region *region = &table->regions[i];
        uint64_t from = start > region->base ? start : region->base;
        uint64_t until = end < region->base + region->size ? end : region->base + region->size;
        for (uint64_t at = from; at < until; at += PAGE_SIZE) {
            uint64_t page = (region->offset + (at - region->base)) >> PAGE_SHIFT;
            /* In this order: a pager killed in between must not find it missing and old. */
            if (!bitmap_get(&block->removed, page)) {
                bitmap_set(&block->removed, page);
                block->header->counters.removed_pages++;
            }
            bitmap_clear(&block->present, page);
        }
    }
}

static void on_remove(struct session *session, const struct uffd_msg *message)
{
    forget_pages(session, message->arg.remove.start, message->arg.remove.end);
}

static void on_unmap(struct session *session, const struct uffd_msg *message)
{
    struct region_table table = *session_block_regions(&session->block);
    forget_pages(session, message->arg.remove.start, message->arg.remove.end);
    if (regions_unmap(&table, message->arg.remove.start, message->arg.remove.end) < 0)
        session_fail(session, "the VM has cut its memory into more than %u pieces", REGIONS_MAX);
    else
        session_block_set_regions(&session->block, &table);
}

static void on_remap(struct session *session, const struct uffd_msg *message)
{
    struct region_table table = *session_block_regions(&session->block);
    struct error err = {0};
    if (regions_move(&table, message->arg.remap.from, message->arg.remap.to,
                     message->arg.remap.len) < 0)
        session_fail(session, "the VM has cut its memory into more than %u pieces", REGIONS_MAX);
    else if (regions_check(&table, session->source->identity.size, &err) < 0)
        session_fail(session, "after a move of the VM's memory: %s", err.message);
    else
        session_block_set_regions(&session->block, &table);
}

static void on_fault(struct session *session, const struct uffd_msg *message)
{
    session->block.header->counters.faults++;
    if (is_served(session))
        answer_fault(session, message->arg.pagefault.address & ~(uint64_t)(PAGE_SIZE - 1));
}

/* Changes first, so that a fault of the same batch gets what holds after them. */
static void apply_changes(struct session *session, size_t count)
{
    struct uffd_msg *journal = session->block.header->journal;
    for (size_t i = 0; i < count; i++) {
        switch (journal[i].event) {
        case UFFD_EVENT_REMOVE:
            on_remove(session, &journal[i]);
            break;
        case UFFD_EVENT_UNMAP:
            on_unmap(session, &journal[i]);
            break;
        case UFFD_EVENT_REMAP:
            on_remap(session, &journal[i]);
            break;
        case UFFD_EVENT_PAGEFAULT:
        case 0:
            continue;
        default:
            session_fail(session, "an event %u that is not known", journal[i].event);
        }
        journal[i].event = 0;
    }
}

static void answer_faults(struct session *session, size_t count)
{
    struct uffd_msg *journal = session->block.header->journal;
    for (size_t i = 0; i < count; i++) {
        if (journal[i].event == UFFD_EVENT_PAGEFAULT)
            on_fault(session, &journal[i]);
        journal[i].event = 0;
    }
}

/* The number of messages read into the journal. */
static size_t journal_read(struct session *session)
{
    struct session_block_header *header = session->block.header;
    ssize_t n = read(session->uffd, header->journal, sizeof(header->journal));
    if (n >= 0)
        return (size_t)n / sizeof(*header->journal);
    if (errno != EAGAIN && errno != EINTR)
        session_fail(session, "read from the userfaultfd: %s", errno_name(errno));
    return 0;
}

static void retry(struct session *session, struct waiting_faults *waiting)
{
    struct waiting_faults now = *waiting;
    *waiting = (struct waiting_faults){0};
    for (uint32_t i = 0; i < now.count && is_served(session); i++)
        answer_again(session, &now.faults[i]);
    free(now.faults);
}

void serve_arrived(struct session *session)
{
    if (session->awaited.count > 0 && is_served(session))
        retry(session, &session->awaited);
    if (session->pending.count > 0 && is_served(session))
        serve_pending(session);
}

/* Fills are refused from the moment a thread of the peer announces a change until it has gone on
 * after its event was read. Where changes come one after the other, the moments in between are
 * short and have to be caught. */
void serve_pending(struct session *session)
{
    for (unsigned i = 0; i < RETRY_SPINS && session->pending.count > 0; i++) {
        if (i > 0)
            sched_yield();
        retry(session, &session->pending);
    }
    session->retry_ns = session->pending.count > 0 ? time_monotonic_ns() + RETRY_WAIT_NS : 0;
}

/* Whoever was woken has often touched the next missing page before the call that woke it returns;
 * but what is filled in the background may well be that page. */
void serve_events(struct session *session)
{
    for (unsigned round = 0; round < ROUNDS_MAX; round++) {
        if (round > 0 && background_due(session) != UINT64_MAX)
            break;
        size_t count = journal_read(session);
        if (count == 0)
            break;
        apply_changes(session, count);
        answer_faults(session, count);
    }
    if (session->pending.count > 0 && is_served(session))
        serve_pending(session);
}

void serve_take_over(struct session *session)
{
    const struct region_table *table = session_block_regions(&session->block);
    struct uffd_msg *journal = session->block.header->journal;
    apply_changes(session, SESSION_JOURNAL_SIZE);
    memset(journal, 0, sizeof(session->block.header->journal));
    session->block.header->counters.takeovers++;
    for (uint32_t i = 0; i < table->count; i++)
        uffd_wake(session->uffd, table->regions[i].base, table->regions[i].size);
}

void serve_drain_events(struct session *session)
{
    do {
        size_t count = journal_read(session);
        apply_changes(session, count);
        if (count == 0)
            sched_yield();
    } while (uffd_busy(session->uffd));
}
