/* SPDX-License-Identifier: Apache-2.0 */
#include "pager/pager.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/timerfd.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/clock.h"
#include "base/log.h"
#include "pager/background.h"
#include "pager/pager_private.h"
#include "pager/serve.h"
#include "pager/uffd.h"

#define TICK_NS 100000000u

const char *pager_version(const struct pager *pager)
{
    return pager->version;
}

struct session_block_versions pager_state_versions(const struct pager *pager)
{
    return pager->versions;
}

unsigned pager_threads(const struct pager *pager)
{
    return pager->worker_count;
}

bool pager_draining(const struct pager *pager)
{
    return pager->draining;
}

/* ---- looking at sessions ---- */

void pager_session_visit(struct session *session, void (*visit)(struct session *, void *),
                         void *data)
{
    struct worker *worker = session->worker;
    if (worker)
        worker_lock(worker);
    visit(session, data);
    if (worker)
        worker_unlock(worker);
}

void pager_sessions_visit(struct pager *pager, void (*visit)(struct session *, void *), void *data)
{
    for (unsigned i = 0; i < PAGER_MAX_SESSIONS; i++) {
        if (pager->sessions[i])
            pager_session_visit(pager->sessions[i], visit, data);
    }
}

struct session *pager_session_find(struct pager *pager, const char *id, struct error *err)
{
    for (unsigned i = 0; i < PAGER_MAX_SESSIONS; i++) {
        if (pager->sessions[i] && strcmp(pager->sessions[i]->id, id) == 0)
            return pager->sessions[i];
    }
    error_set(err, ERROR_NOT_FOUND, ENOENT, "no session '%.64s'", id);
    return NULL;
}

static void read_state(struct session *session, void *data)
{
    *(enum session_state *)data = session->state;
}

static enum session_state state_of(struct session *session)
{
    enum session_state state = SESSION_WAITING;
    pager_session_visit(session, read_state, &state);
    return state;
}

/* ---- what is due now and then ---- */

/* A VM that is gone or complete is let go of at once, not only when its session is deleted. */
static void notice_end(struct session *session, void *data)
{
    if (!session->worker)
        return;
    if (session->state <= SESSION_COMPLETING && uffd_gone(session->uffd))
        session->state = SESSION_ENDED;
    if (session->state != SESSION_ENDED && session->state != SESSION_COMPLETED)
        return;
    worker_detach(session);
    cleanup_close(&session->uffd);
    cleanup_close(&session->peer);
    session->uffd = session->peer = -1;
    log_info("session %s: %s", session->id, session_state_name(session->state));
}

/* A VM that failed goes on needing it: somebody may take it over. */
static bool needs_pager(enum session_state state)
{
    return state <= SESSION_COMPLETING || state == SESSION_FAILED;
}

static bool is_drained(struct pager *pager)
{
    for (unsigned i = 0; i < PAGER_MAX_SESSIONS; i++) {
        struct session *session = pager->sessions[i];
        if (session && needs_pager(state_of(session)) && session->uffd >= 0 &&
            !uffd_gone(session->uffd))
            return false;
        if (session && session->handshake)
            return false;
    }
    return true;
}

static void tick(struct loop_source *source, uint32_t events)
{
    struct pager *pager = CONTAINER_OF(source, struct pager, timer);
    uint64_t expirations = 0, now = time_monotonic_ns();
    /* Only to make it quiet again. */
    if (read(source->fd, &expirations, sizeof(expirations)) < 0)
        return;
    for (unsigned i = 0; i < PAGER_MAX_SESSIONS; i++) {
        struct session *session = pager->sessions[i];
        if (!session)
            continue;
        if (session->handshake)
            handshake_tick(session->handshake, now);
        pager_session_visit(session, notice_end, NULL);
        session_record_tick(pager, session, now);
    }
    chunk_cache_tick(pager->cache, now);
    if (pager->draining && is_drained(pager))
        loop_stop(pager->loop, 0);
}

void pager_cache_count(const struct pager *pager, struct chunk_counts *counts)
{
    chunk_cache_count(pager->cache, counts);
}

void pager_drain(struct pager *pager)
{
    if (!pager->draining)
        log_info("draining: no new sessions, %u to go on", pager->session_count);
    pager->draining = true;
}

/* ---- the process's parts ---- */

static int timer_start(struct pager *pager, struct error *err)
{
    const struct itimerspec period = {.it_interval.tv_nsec = TICK_NS, .it_value.tv_nsec = TICK_NS};
    pager->timer.ready = tick;
    pager->timer.fd = timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC | TFD_NONBLOCK);
    if (pager->timer.fd < 0 || timerfd_settime(pager->timer.fd, 0, &period, NULL) < 0)
        return error_errno(err, errno, NULL, "start the timer");
    return loop_add(pager->loop, &pager->timer, EPOLLIN, err);
}

static int workers_start(struct pager *pager, unsigned threads, struct error *err)
{
    pager->workers = calloc(threads, sizeof(struct worker *));
    if (!pager->workers)
        return error_errno(err, ENOMEM, NULL, "start %u workers", threads);
    for (; pager->worker_count < threads; pager->worker_count++) {
        pager->workers[pager->worker_count] = worker_start(pager->crew, err);
        if (!pager->workers[pager->worker_count])
            return -err->errnum;
    }
    return 0;
}

struct worker *pager_idlest_worker(struct pager *pager)
{
    struct worker *idlest = pager->workers[0];
    for (unsigned i = 1; i < pager->worker_count; i++) {
        if (worker_load(pager->workers[i]) < worker_load(idlest))
            idlest = pager->workers[i];
    }
    return idlest;
}

static void arrived(void *context)
{
    crew_arrived(context);
}

static int parts_create(struct pager *pager, const struct pager_config *config, struct error *err)
{
    pager->records = record_store_create();
    pager->crew = crew_create();
    if (!pager->records || !pager->crew)
        return error_errno(err, ENOMEM, NULL, "start the pager");
    const struct chunk_cache_config cache = {.bytes = config->cache_bytes,
                                             .threads = config->threads,
                                             .arrived = arrived,
                                             .context = pager->crew};
    pager->cache = chunk_cache_create(&cache, err);
    int r = pager->cache ? workers_start(pager, config->threads, err) : -err->errnum;
    return r < 0 ? r : timer_start(pager, err);
}

struct pager *pager_create(const struct pager_config *config, struct error *err)
{
    struct pager *pager = calloc(1, sizeof(*pager));
    if (!pager) {
        error_errno(err, ENOMEM, NULL, "start the pager");
        return NULL;
    }
    pager->version = config->version;
    pager->versions = config->versions;
    pager->loop = config->loop;
    pager->timer.fd = -1;
    if (parts_create(pager, config, err) == 0)
        return pager;
    pager_destroy(pager);
    return NULL;
}

void pager_destroy(struct pager *pager)
{
    if (!pager)
        return;
    for (unsigned i = 0; i < PAGER_MAX_SESSIONS; i++) {
        if (pager->sessions[i])
            session_destroy(pager, pager->sessions[i]);
    }
    chunk_cache_destroy(pager->cache); /* it calls workers */
    for (unsigned i = 0; i < pager->worker_count; i++)
        worker_stop(pager->workers[i]);
    if (pager->timer.fd >= 0) {
        loop_remove(pager->loop, &pager->timer);
        close(pager->timer.fd);
    }
    record_store_destroy(pager->records);
    crew_destroy(pager->crew);
    free(pager->workers);
    free(pager);
}
