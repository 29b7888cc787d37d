/* SPDX-License-Identifier: Apache-2.0 */
/* Graduation: sessions that are old enough are completed while their VMs run, those of a pager that
 * is to end first. One that can't be completed is moved off such a pager instead: it is detached,
 * and taken over by ours. Where ours does not know the version of its state, it stays. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/clock.h"
#include "base/failpoint.h"
#include "base/log.h"
#include "paging/paging_private.h"

#define FIRST_MS   30000u
#define LIMIT_MS   3600000u
#define MOVE_AFTER 2u /* failures */

struct candidate {
    uint64_t serial;
    char id[PAGING_ID_SIZE];
    struct pager *pager;
    unsigned state_version;
    bool moves; /* to our pager, as it is */
};

static bool is_old(const struct paging *paging, const struct paging_session *session)
{
    return session->pager && session->pager != paging->current;
}

static bool may_move(const struct paging *paging, const struct paging_session *session)
{
    return is_old(paging, session) && pager_reads(paging->current, session->state_version);
}

static bool is_eligible(const struct paging *paging, const struct paging_session *session,
                        uint64_t now)
{
    bool old = is_old(paging, session);
    if (!session->pager || session->state != PAGING_SERVING || session->lost || session->orphan ||
        !session->awaited || session->uffd < 0 || now < session->graduate_ns)
        return false;
    if (paging->graduation.off)
        return may_move(paging, session);
    return old || now - session->born_ns >= (uint64_t)paging->graduation.after_ms * MS;
}

/* Those of an old pager before ours, then the one that is longest there. */
static bool goes_before(const struct paging *paging, const struct paging_session *session,
                        const struct paging_session *best)
{
    if (!best || is_old(paging, session) != is_old(paging, best))
        return !best || is_old(paging, session);
    return session->born_ns < best->born_ns;
}

/* False: nothing may be begun now. */
static bool pick(struct paging *paging, struct candidate *candidate)
{
    uint64_t now = time_monotonic_ns();
    struct paging_session *best = NULL;
    unsigned under_way = 0, limit = paging->graduation.at_once > 0 ? paging->graduation.at_once : 1;
    pthread_mutex_lock(&paging->mutex);
    for (struct paging_session *session = paging->sessions; session && !paging->stopping;
         session = session->next) {
        under_way += session->graduates;
        if (is_eligible(paging, session, now) && goes_before(paging, session, best))
            best = session;
    }
    bool moves = best && may_move(paging, best) &&
                 (paging->graduation.off || best->graduate_failures >= MOVE_AFTER);
    bool picked = best && best->pager && (moves || under_way < limit);
    if (picked) {
        *candidate = (struct candidate){.serial = best->serial,
                                        .pager = best->pager,
                                        .state_version = best->state_version,
                                        .moves = moves};
        memcpy(candidate->id, best->id, sizeof(candidate->id));
        best->graduates = !moves;
        /* Should it fail: the same again, later. */
        best->graduate_ns = now + paging_pause_ns(best->graduate_failures, FIRST_MS, LIMIT_MS);
    }
    pthread_mutex_unlock(&paging->mutex);
    return picked;
}

static int complete(const struct paging *paging, const struct candidate *candidate,
                    struct error *err)
{
    int r = failpoint("paging-graduate");
    if (r < 0)
        return error_errno(err, -r, NULL, "failpoint paging-graduate");
    return call_complete(candidate->pager->socket, candidate->id, paging->graduation.bandwidth_mib,
                         err);
}

/* A pager that was just asked has not told yet that it completes: that comes with a sample. */
static void begun(struct paging *paging, const struct candidate *candidate, int r,
                  const struct error *err)
{
    pthread_mutex_lock(&paging->mutex);
    struct paging_session *session = paging_find_serial(paging, candidate->serial);
    if (session && r == 0 && session->pager == candidate->pager && !session->orphan) {
        session->state = PAGING_COMPLETING;
        session->since_ns = time_monotonic_ns();
        log_info("session %s: is being completed", session->id);
    } else if (session) {
        session->graduates = false;
        session->graduate_failures++;
        paging->counts.graduation_failures++;
        snprintf(session->reason, sizeof(session->reason), "complete: %.480s", err->message);
        log_warning("session %s: stays on its pager: %s", session->id, session->reason);
    }
    pthread_mutex_unlock(&paging->mutex);
}

static bool reads(struct paging *paging, const struct candidate *candidate)
{
    pthread_mutex_lock(&paging->mutex);
    bool reads = pager_reads(paging->current, candidate->state_version);
    pthread_mutex_unlock(&paging->mutex);
    return reads;
}

static void move(struct paging *paging, const struct candidate *candidate)
{
    struct error err = {0};
    /* Ours first: between the two the VM waits. */
    int r = pager_ensure(paging, paging->current, &err);
    if (r == 0 && !reads(paging, candidate))
        return; /* it is known only now */
    if (r == 0)
        r = call_delete(candidate->pager->socket, candidate->id, true, &err);
    if (r < 0) {
        log_warning("session %s: stays on the pager of version %s: %s", candidate->id,
                    candidate->pager->version, err.message);
        return;
    }
    pthread_mutex_lock(&paging->mutex);
    struct paging_session *session = paging_find_serial(paging, candidate->serial);
    if (session) {
        session->orphan = true;
        session->takeover_ns = 0;
        session->takeover_failures = 0;
    }
    pthread_mutex_unlock(&paging->mutex);
    orphans_take_over(paging);
}

void sessions_graduate(struct paging *paging)
{
    struct candidate candidate;
    while (pick(paging, &candidate)) {
        struct error err = {0};
        if (candidate.moves)
            move(paging, &candidate);
        else
            begun(paging, &candidate, complete(paging, &candidate, &err), &err);
    }
}
