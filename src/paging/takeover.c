/* SPDX-License-Identifier: Apache-2.0 */
/* Sessions whose pager has ended, one after the other: the next pager gets the duplicates. What
 * does not work is tried again, ever less often and for ever: the VM waits, and its image may
 * become whole again. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/clock.h"
#include "base/failpoint.h"
#include "base/log.h"
#include "pager/session_block.h"
#include "paging/paging_private.h"

#define FIRST_MS 20u
#define LIMIT_MS 30000u
#define PATIENCE 6u /* tries until the VM counts as lost; together more than a second */

/* An orphan as it was when it was picked; it may be gone since. */
struct orphan {
    uint64_t serial;
    char id[PAGING_ID_SIZE];
    char *directory, *cache_key;
    struct paging_format format;
    unsigned layers, state_version;
    struct pager *pager; /* which had it */
    int uffd, block;
};

static void cleanup_orphan(struct orphan *orphan)
{
    cleanup_close(&orphan->uffd);
    cleanup_close(&orphan->block);
    free(orphan->directory);
    free(orphan->cache_key);
}

static bool orphan_copy(const struct paging_session *session, struct orphan *orphan)
{
    orphan->serial = session->serial;
    memcpy(orphan->id, session->id, sizeof(orphan->id));
    if (asprintf(&orphan->directory, "%s/%s", session->guest_dir, session->directory) < 0)
        orphan->directory = NULL;
    orphan->cache_key = strdup(session->cache_key);
    orphan->format = session->format;
    orphan->layers = session->layers;
    orphan->state_version = session->state_version;
    orphan->pager = session->pager;
    orphan->uffd = fcntl(session->uffd, F_DUPFD_CLOEXEC, 0);
    orphan->block = fcntl(session->block, F_DUPFD_CLOEXEC, 0);
    return orphan->directory && orphan->cache_key && orphan->uffd >= 0 && orphan->block >= 0;
}

/* With the mutex held. One whose duplicates never came can't be helped. */
static bool is_helpless(struct paging *paging, struct paging_session *session, char *news)
{
    paging_receive(paging, session);
    if (session->uffd >= 0)
        return false;
    cleanup_close(&session->keeper);
    session->keeper = -1;
    if (paging_lose(paging, session, "its pager ended, and nobody holds its userfaultfd"))
        memcpy(news, session->id, PAGING_ID_SIZE);
    session->orphan = false;
    session->pager = NULL;
    return true;
}

/* With the mutex held. A pager that drains ends with its last session, before anybody has asked. */
static bool is_completed(struct paging *paging, struct paging_session *session, char *news)
{
    if (session->uffd < 0 || !session_block_completed(session->block))
        return false;
    session->state = PAGING_COMPLETED;
    session->orphan = session->graduates = false;
    paging->counts.graduations++;
    memcpy(news, session->id, PAGING_ID_SIZE);
    return true;
}

/* Not before a pager may be started, either. */
static uint64_t due(const struct paging *paging, const struct paging_session *session)
{
    bool ours = pager_reads(paging->current, session->state_version) || !session->pager;
    const struct pager *heir = ours ? paging->current : session->pager;
    bool waits = heir->process.pidfd < 0 && heir->start_ns > session->takeover_ns;
    return waits ? heir->start_ns : session->takeover_ns;
}

/* The next that is due: 1; 0 if none is, and when the next one will be. `news`: one that was found
 * to be lost or completed instead, to be told. */
static int pick(struct paging *paging, struct orphan *orphan, char *news, uint64_t *next_ns)
{
    uint64_t now = time_monotonic_ns();
    int picked = 0;
    pthread_mutex_lock(&paging->mutex);
    for (struct paging_session *session = paging->sessions;
         session && !picked && !*news && !paging->stopping; session = session->next) {
        if (!session->orphan || is_helpless(paging, session, news) ||
            is_completed(paging, session, news))
            continue;
        uint64_t due_ns = due(paging, session);
        if (due_ns > now) {
            *next_ns = due_ns < *next_ns ? due_ns : *next_ns;
            continue;
        }
        picked = orphan_copy(session, orphan);
        session->takeover_ns = now + FIRST_MS * MS; /* if it could not be copied */
    }
    pthread_mutex_unlock(&paging->mutex);
    return picked;
}

/* 1: that pager is at work and may be asked; 0: it can't be, says `err`. */
static int is_able(struct paging *paging, struct pager *pager, const struct orphan *orphan,
                   struct error *err)
{
    if (pager_ensure(paging, pager, err) < 0)
        return 0;
    pthread_mutex_lock(&paging->mutex);
    bool reads = pager_reads(pager, orphan->state_version);
    unsigned oldest = pager->state_oldest, newest = pager->state_newest;
    pthread_mutex_unlock(&paging->mutex);
    if (!reads)
        error_set(err, ERROR_UNSUPPORTED, EPROTONOSUPPORT,
                  "its state has version %u, the pager of version %s knows %u to %u",
                  orphan->state_version, pager->version, oldest, newest);
    return reads;
}

static int give(const struct pager *pager, const struct orphan *orphan, struct error *err)
{
    const struct takeover takeover = {.id = orphan->id,
                                      .directory = orphan->directory,
                                      .format = orphan->format,
                                      .layers = orphan->layers,
                                      .cache_key = orphan->cache_key,
                                      .uffd = orphan->uffd,
                                      .block = orphan->block};
    if (failpoint("paging-takeover") < 0)
        return error_set(err, ERROR_SYSTEM, EIO, "failpoint paging-takeover");
    return call_take_over(pager->socket, &takeover, err);
}

/* By ours, if it can be started and knows the state's version; else by one of the version that had
 * it. */
static int take_over(struct paging *paging, const struct orphan *orphan, struct pager **heir,
                     struct error *err)
{
    struct error cause = {0};
    int r = -EPROTONOSUPPORT;
    *heir = paging->current;
    if (is_able(paging, *heir, orphan, &cause))
        r = give(*heir, orphan, &cause);
    bool others = r == -EPROTONOSUPPORT && orphan->pager && orphan->pager != *heir;
    if (!others) {
        *err = cause;
        return r;
    }
    *heir = orphan->pager;
    r = is_able(paging, *heir, orphan, err) ? give(*heir, orphan, err) : -err->errnum;
    return r < 0 ? error_wrap(err, "%s; by version %s", cause.message, (*heir)->version) : r;
}

/* With the mutex held. True if somebody is to be told. */
static bool succeeded(struct paging *paging, struct paging_session *session, struct pager *heir)
{
    session->pager = heir;
    session->orphan = session->pager->process.pidfd < 0; /* it has ended again */
    session->since_ns = time_monotonic_ns();
    session->takeover_failures = session->graduate_failures = 0;
    session->takeovers++;
    session->lost = false;
    session->state = PAGING_SERVING;
    session->reason[0] = '\0';
    paging->counts.takeovers++;
    log_info("session %s: taken over by the pager of version %s", session->id,
             session->pager->version);
    return true;
}

static bool failed(struct paging *paging, struct paging_session *session, const struct error *err)
{
    char reason[sizeof(session->reason)];
    session->takeover_failures++;
    session->takeover_ns =
        time_monotonic_ns() + paging_pause_ns(session->takeover_failures, FIRST_MS, LIMIT_MS);
    paging->counts.takeover_failures++;
    if (session->takeover_failures < PATIENCE)
        return false;
    snprintf(reason, sizeof(reason), "its pager ended and it can't be taken over: %.400s",
             err->message);
    log_error("session %s: %s", session->id, reason);
    return paging_lose(paging, session, reason);
}

static void treat(struct paging *paging, const struct orphan *orphan)
{
    struct error err = {0};
    struct pager *heir = NULL;
    int r = take_over(paging, orphan, &heir, &err);
    bool gone, tell = false;
    pthread_mutex_lock(&paging->mutex);
    struct paging_session *session = paging_find_serial(paging, orphan->serial);
    gone = !session;
    if (session)
        tell = r == 0 ? succeeded(paging, session, heir) : failed(paging, session, &err);
    pthread_mutex_unlock(&paging->mutex);
    /* Its VM has ended meanwhile, and so did the wish. */
    if (gone && r == 0 && call_delete(heir->socket, orphan->id, true, &err) < 0 &&
        err.code != ERROR_NOT_FOUND)
        log_warning("session %s: %s", orphan->id, err.message);
    if (tell)
        paging->changed(paging->context, orphan->id);
}

uint64_t orphans_take_over(struct paging *paging)
{
    for (;;) {
        uint64_t next_ns = UINT64_MAX;
        char news[PAGING_ID_SIZE] = "";
        _cleanup_(orphan) struct orphan orphan = {.uffd = -1, .block = -1};
        int picked = pick(paging, &orphan, news, &next_ns);
        if (*news)
            paging->changed(paging->context, news);
        if (picked)
            treat(paging, &orphan);
        else if (!*news)
            return next_ns;
    }
}
