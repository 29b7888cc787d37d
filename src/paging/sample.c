/* SPDX-License-Identifier: Apache-2.0 */
/* What the pagers say of the sessions: it is asked for, nobody tells it. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/clock.h"
#include "base/log.h"
#include "paging/paging_private.h"

/* The answer of one pager. */
struct sample {
    struct paging *paging;
    struct pager *pager;
    uint64_t asked_ns;
    char (*changed)[PAGING_ID_SIZE]; /* to be told when the mutex is not held */
    size_t changed_count;
};

static void note_change(struct sample *sample, const char *id)
{
    void *more = reallocarray(sample->changed, sample->changed_count + 1, PAGING_ID_SIZE);
    if (!more)
        return; /* the next sample has the same to say */
    sample->changed = more;
    snprintf(sample->changed[sample->changed_count++], PAGING_ID_SIZE, "%s", id);
}

static bool take_failure(struct paging *paging, struct paging_session *session,
                         const struct session_facts *facts)
{
    if (!facts->reason || facts->state != PAGING_LOST)
        return false;
    log_error("session %s: failed: %s", session->id, facts->reason);
    return paging_lose(paging, session, facts->reason);
}

/* The pager goes on serving what it could not complete. */
static void take_setback(struct paging *paging, struct paging_session *session,
                         const struct session_facts *facts)
{
    if (!session->graduates || facts->state != PAGING_SERVING)
        return;
    session->graduates = false;
    session->graduate_failures++;
    paging->counts.graduation_failures++;
    snprintf(session->reason, sizeof(session->reason), "%s",
             facts->reason ? facts->reason : "it was not completed");
    log_warning("session %s: stays on its pager: %s", session->id, session->reason);
}

static bool take_completion(struct paging *paging, struct paging_session *session,
                            const struct session_facts *facts)
{
    bool news = facts->state == PAGING_COMPLETED && session->state != PAGING_COMPLETED;
    paging->counts.graduations += news;
    session->graduates = session->graduates && !news;
    return news;
}

/* What was asked for before the session came to this pager says nothing of it. */
static void take(const struct session_facts *facts, void *data)
{
    struct sample *sample = data;
    struct paging *paging = sample->paging;
    pthread_mutex_lock(&paging->mutex);
    struct paging_session *session = paging_find(paging, facts->id);
    bool fits = session && session->pager == sample->pager && !session->orphan &&
                session->since_ns < sample->asked_ns && !session->lost;
    if (fits) {
        take_setback(paging, session, facts);
        bool news = facts->recorded && !session->recorded;
        session->recorded = session->recorded || facts->recorded;
        news = take_failure(paging, session, facts) || news;
        news = take_completion(paging, session, facts) || news;
        if (news)
            note_change(sample, session->id);
        paging->counts.faults +=
            facts->faults > session->faults ? facts->faults - session->faults : 0;
        session->pages = facts->pages;
        session->present = facts->present;
        session->faults = facts->faults;
        /* One that waits when its duplicates are here has only not been asked since. */
        if (!facts->ended && facts->state != PAGING_WAITING)
            session->state = facts->state;
    }
    pthread_mutex_unlock(&paging->mutex);
}

static uint64_t grown(uint64_t now, uint64_t before)
{
    return now > before ? now - before : 0;
}

static void add_cache(struct paging_cache *sum, struct paging_cache *before,
                      const struct paging_cache *now)
{
    sum->hits += grown(now->hits, before->hits);
    sum->misses += grown(now->misses, before->misses);
    sum->ahead += grown(now->ahead, before->ahead);
    sum->evictions += grown(now->evictions, before->evictions);
    sum->failures += grown(now->failures, before->failures);
    *before = *now;
}

/* What an earlier process said is past: this one counts from 0. */
static void take_cache(const struct sample *sample, const struct paging_cache *now)
{
    struct paging *paging = sample->paging;
    struct pager *pager = sample->pager;
    pthread_mutex_lock(&paging->mutex);
    if (pager->process.pidfd >= 0 && pager->started_ns < sample->asked_ns)
        add_cache(&paging->counts.cache, &pager->cache, now);
    pthread_mutex_unlock(&paging->mutex);
}

/* True of a pager that has a session, or decoded pages that it is going to give back. */
static bool is_asked(struct paging *paging, const struct pager *pager)
{
    pthread_mutex_lock(&paging->mutex);
    bool asked = pager->cache.bytes > 0;
    for (const struct paging_session *session = paging->sessions; session; session = session->next)
        asked = asked || (session->pager == pager && !session->orphan);
    asked = asked && pager->process.pidfd >= 0;
    pthread_mutex_unlock(&paging->mutex);
    return asked;
}

/* Entries stay in the list until the end, so it can be walked without the mutex. */
void sessions_sample(struct paging *paging)
{
    for (struct pager *pager = paging->pagers; pager; pager = pager->next) {
        struct sample sample = {.paging = paging, .pager = pager, .asked_ns = time_monotonic_ns()};
        struct error err = {0};
        if (!is_asked(paging, pager))
            continue;
        struct paging_cache cache;
        if (call_stats(pager->socket, take, &sample, &cache, &err) < 0)
            log_debug("%s", err.message); /* it has ended, or is going to be asked again */
        else
            take_cache(&sample, &cache);
        for (size_t i = 0; i < sample.changed_count; i++)
            paging->changed(paging->context, sample.changed[i]);
        free(sample.changed);
    }
}
