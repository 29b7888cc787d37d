/* SPDX-License-Identifier: Apache-2.0 */
#include "paging/paging.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/clock.h"
#include "base/condition.h"
#include "base/log.h"
#include "http/descriptors.h"
#include "paging/paging_private.h"

const char *paging_state_name(enum paging_state state)
{
    static const char *const names[] = {"none",       "waiting",   "serving",
                                        "completing", "completed", "lost"};
    return (size_t)state < ARRAY_SIZE(names) ? names[state] : "lost";
}

uint64_t paging_pause_ns(unsigned failures, unsigned first_ms, unsigned limit_ms)
{
    uint64_t pause = (uint64_t)first_ms << (failures > 20 ? 20 : failures);
    return (pause < limit_ms ? pause : limit_ms) * MS;
}

void paging_poke(const struct paging *paging)
{
    const uint64_t one = 1;
    if (write(paging->event_fd, &one, sizeof(one)) < 0 && errno != EAGAIN)
        log_warning("wake the keeper of pagers: %s", errno_name(errno));
}

/* ---- the list ---- */

struct paging_session *paging_find(struct paging *paging, const char *id)
{
    struct paging_session *session = paging->sessions;
    while (session && strcmp(session->id, id) != 0)
        session = session->next;
    return session;
}

struct paging_session *paging_find_serial(struct paging *paging, uint64_t serial)
{
    struct paging_session *session = paging->sessions;
    while (session && session->serial != serial)
        session = session->next;
    return session;
}

static void session_free(struct paging_session *session)
{
    cleanup_close(&session->keeper);
    cleanup_close(&session->uffd);
    cleanup_close(&session->block);
    free(session->guest_dir);
    free(session->directory);
    free(session->cache_key);
    free(session);
}

struct paging_session *paging_add(struct paging *paging, const char *id, const char *guest_dir,
                                  const char *directory, unsigned layers, const char *cache_key)
{
    struct paging_session *session = calloc(1, sizeof(*session));
    if (!session)
        return NULL;
    session->keeper = session->uffd = session->block = -1;
    session->guest_dir = strdup(guest_dir);
    session->directory = strdup(directory);
    session->cache_key = strdup(cache_key);
    session->layers = layers;
    if (!session->guest_dir || !session->directory || !session->cache_key) {
        session_free(session);
        return NULL;
    }
    snprintf(session->id, sizeof(session->id), "%s", id);
    session->serial = ++paging->last_serial;
    session->since_ns = session->born_ns = time_monotonic_ns();
    session->state = PAGING_WAITING;
    session->next = paging->sessions;
    paging->sessions = session;
    return session;
}

void paging_remove(struct paging *paging, struct paging_session *session)
{
    struct paging_session **link = &paging->sessions;
    while (*link != session)
        link = &(*link)->next;
    *link = session->next;
    session_free(session);
    pthread_cond_broadcast(&paging->arrived);
}

bool paging_lose(struct paging *paging, struct paging_session *session, const char *reason)
{
    bool news = !session->lost;
    session->lost = true;
    snprintf(session->reason, sizeof(session->reason), "%s", reason);
    paging->counts.lost += news && session->awaited; /* else its restore fails */
    pthread_cond_broadcast(&paging->arrived);
    return news;
}

void paging_receive(struct paging *paging, struct paging_session *session)
{
    char id[PAGING_ID_SIZE];
    int fds[2] = {-1, -1};
    size_t count = 0;
    bool too_many = false;
    if (session->keeper < 0)
        return;
    ssize_t n = descriptors_receive(session->keeper, id, sizeof(id), fds, 2, &count, &too_many);
    if (n < 0 && (errno == EAGAIN || errno == EINTR))
        return;
    cleanup_close(&session->keeper);
    session->keeper = -1;
    if (count == 2) {
        session->uffd = fds[0];
        session->block = fds[1];
        session->state = PAGING_SERVING;
    } else {
        cleanup_close(&fds[0]);
    }
    pthread_cond_broadcast(&paging->arrived);
}

/* ---- a session's life ---- */

/* The pager that has it, to be asked without the mutex; "" if there is none. Owner: caller. */
static char *socket_of(const struct paging_session *session)
{
    bool lives = session->pager && !session->orphan && session->pager->process.pidfd >= 0;
    return strdup(lives ? session->pager->socket : "");
}

void paging_forget(struct paging *paging, const char *id)
{
    struct error err = {0};
    pthread_mutex_lock(&paging->mutex);
    struct paging_session *session = paging_find(paging, id);
    _cleanup_(free) char *socket = session ? socket_of(session) : NULL;
    if (session)
        paging_remove(paging, session);
    pthread_mutex_unlock(&paging->mutex);
    if (socket && *socket && call_delete(socket, id, true, &err) < 0 && err.code != ERROR_NOT_FOUND)
        log_warning("session %s: %s", id, err.message);
}

/* What a pager that was killed left there. */
static int remove_socket(const struct paging_request *request, struct error *err)
{
    _cleanup_(free) char *path = NULL;
    if (asprintf(&path, "%s/%s", request->guest_dir, request->socket) < 0) {
        path = NULL;
        return error_errno(err, ENOMEM, request->guest_dir, "session %s", request->id);
    }
    if (unlink(path) < 0 && errno != ENOENT)
        return error_errno(err, errno, path, "remove %s", path);
    return 0;
}

/* In the list before it is made: the duplicates find it there. */
static int session_enter(struct paging *paging, const struct paging_request *request, int keeper,
                         struct error *err)
{
    pthread_mutex_lock(&paging->mutex);
    struct paging_session *session =
        paging_add(paging, request->id, request->guest_dir, request->directory, request->layers,
                   request->cache_key);
    if (session) {
        session->format = request->format;
        session->keeper = keeper;
        session->pager = paging->current;
        session->state_version = paging->current->state_newest;
        session->orphan = paging->current->process.pidfd < 0;
    }
    pthread_mutex_unlock(&paging->mutex);
    if (session)
        return 0;
    close(keeper);
    return error_errno(err, ENOMEM, NULL, "session %s", request->id);
}

static int make(struct paging *paging, const struct paging_request *request, struct error *err)
{
    int ends[2];
    paging_forget(paging, request->id);
    int r = remove_socket(request, err);
    if (r < 0)
        return r;
    if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, ends) < 0)
        return error_errno(err, errno, NULL, "session %s", request->id);
    _cleanup_(close) int theirs = ends[1];
    r = session_enter(paging, request, ends[0], err);
    if (r < 0)
        return r;
    r = call_make(paging->current->socket, request, theirs, err);
    if (r < 0)
        paging_forget(paging, request->id);
    else
        paging_poke(paging);
    return r;
}

int paging_check(const struct paging *paging, struct error *err)
{
    if (access(paging->binary, X_OK) < 0)
        return error_set(err, ERROR_UNSUPPORTED, EOPNOTSUPP, "use the pager %s: %s", paging->binary,
                         strerror(errno));
    return 0;
}

/* A pager that ended just now is replaced, once. */
int paging_begin(struct paging *paging, const struct paging_request *request, struct error *err)
{
    for (bool again = false;; again = true) {
        int r = pager_ensure(paging, paging->current, err);
        if (r == 0)
            r = make(paging, request, err);
        bool gone = r == -ECONNREFUSED || r == -ECONNRESET || r == -EPIPE || r == -ENOENT;
        if (r == 0 || !gone || again) {
            pthread_mutex_lock(&paging->mutex);
            paging->counts.sessions += r == 0;
            pthread_mutex_unlock(&paging->mutex);
            return r;
        }
        pager_suspect(paging, paging->current);
        error_clear(err);
    }
}

static int await_result(const struct paging_session *session, const char *id, unsigned timeout_ms,
                        struct error *err)
{
    if (!session)
        return error_set(err, ERROR_STATE, ENOENT, "session %s: it was given up", id);
    if (session->lost)
        return error_set(err, ERROR_SYSTEM, EIO, "session %s: %s", id, session->reason);
    if (session->uffd >= 0)
        return 0;
    if (session->keeper >= 0)
        return error_set(err, ERROR_TIMEOUT, ETIMEDOUT,
                         "session %s: no VM has connected to the pager in %u ms", id, timeout_ms);
    return error_set(err, ERROR_SYSTEM, EPROTO, "session %s: its pager did not hand it over", id);
}

int paging_await(struct paging *paging, const char *id, unsigned timeout_ms, struct error *err)
{
    const uint64_t deadline_ns = time_after_ms(timeout_ms);
    struct paging_session *session;
    int late = 0;
    pthread_mutex_lock(&paging->mutex);
    while ((session = paging_find(paging, id)) && session->keeper >= 0 && !session->lost &&
           late == 0)
        late = condition_wait_until(&paging->arrived, &paging->mutex, deadline_ns);
    int r = await_result(session, id, timeout_ms, err);
    if (session && r == 0)
        session->awaited = true;
    pthread_mutex_unlock(&paging->mutex);
    return r;
}

void paging_moved(struct paging *paging, const char *id, const char *directory)
{
    char *copy = strdup(directory);
    pthread_mutex_lock(&paging->mutex);
    struct paging_session *session = paging_find(paging, id);
    if (session && copy) {
        char *old = session->directory;
        session->directory = copy;
        copy = old;
    }
    pthread_mutex_unlock(&paging->mutex);
    free(copy);
}

bool paging_key(struct paging *paging, const char *id, char key[PAGING_KEY_SIZE])
{
    pthread_mutex_lock(&paging->mutex);
    const struct paging_session *session = paging_find(paging, id);
    if (session)
        snprintf(key, PAGING_KEY_SIZE, "%s", session->cache_key);
    pthread_mutex_unlock(&paging->mutex);
    return session != NULL;
}

int paging_release(struct paging *paging, const char *id)
{
    pthread_mutex_lock(&paging->mutex);
    const struct paging_session *session = paging_find(paging, id);
    bool reads = session && session->state != PAGING_COMPLETED;
    pthread_mutex_unlock(&paging->mutex);
    if (!reads)
        paging_forget(paging, id);
    return !reads;
}

/* ---- looking ---- */

static enum paging_state state_of(const struct paging_session *session)
{
    return session->lost ? PAGING_LOST : session->state;
}

void paging_look(struct paging *paging, const char *id, struct paging_status *status)
{
    *status = (struct paging_status){.state = PAGING_NONE};
    pthread_mutex_lock(&paging->mutex);
    const struct paging_session *session = paging_find(paging, id);
    if (session) {
        status->state = state_of(session);
        status->pages = session->pages;
        status->present = session->present;
        status->faults = session->faults;
        status->takeovers = session->takeovers;
        status->unborn = !session->awaited;
        snprintf(status->reason, sizeof(status->reason), "%s", session->reason);
        if (session->pager && !session->orphan)
            snprintf(status->version, sizeof(status->version), "%s", session->pager->version);
    }
    pthread_mutex_unlock(&paging->mutex);
}

char *paging_list(struct paging *paging, size_t *count)
{
    *count = 0;
    pthread_mutex_lock(&paging->mutex);
    size_t total = 0;
    for (const struct paging_session *session = paging->sessions; session; session = session->next)
        total++;
    char *ids = calloc(total + 1, PAGING_ID_SIZE);
    for (const struct paging_session *session = ids ? paging->sessions : NULL; session;
         session = session->next)
        memcpy(ids + (*count)++ * PAGING_ID_SIZE, session->id, PAGING_ID_SIZE);
    pthread_mutex_unlock(&paging->mutex);
    return ids;
}

void paging_count(struct paging *paging, struct paging_counts *counts)
{
    pthread_mutex_lock(&paging->mutex);
    *counts = paging->counts;
    for (const struct paging_session *session = paging->sessions; session; session = session->next)
        counts->now[state_of(session)]++;
    for (const struct pager *pager = paging->pagers; pager; pager = pager->next) {
        counts->cache.limit_bytes += pager->cache.limit_bytes;
        counts->cache.bytes += pager->cache.bytes;
    }
    pthread_mutex_unlock(&paging->mutex);
}

/* ---- all of it ---- */

static int mutexes_open(struct paging *paging, struct error *err)
{
    pthread_mutex_init(&paging->starting, NULL);
    pthread_mutex_init(&paging->mutex, NULL);
    int r = condition_init(&paging->arrived);
    return r != 0 ? error_errno(err, r, NULL, "keep pagers") : 0;
}

static int open_all(struct paging *paging, const struct paging_config *config, struct error *err)
{
    paging->binary = realpath(config->binary, NULL);
    paging->run_dir = strdup(config->run_dir);
    paging->version = strdup(config->version ? config->version : TINE_VERSION);
    paging->guests_dir = strdup(config->guests_dir);
    paging->graduation = config->graduation;
    paging->cache_mib = config->cache_mib;
    paging->changed = config->changed;
    paging->context = config->context;
    if (!paging->binary && errno != ENOENT && errno != ENOTDIR && errno != EACCES)
        return error_errno(err, errno, config->binary, "find the pager %s", config->binary);
    /* One that is not there is told when it is needed. */
    if (!paging->binary)
        paging->binary = strdup(config->binary);
    if (!paging->binary || !paging->run_dir || !paging->version || !paging->guests_dir)
        return error_errno(err, ENOMEM, NULL, "keep pagers");
    paging->event_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    if (paging->event_fd < 0)
        return error_errno(err, errno, NULL, "keep pagers");
    int r = pagers_find(paging, err);
    if (r == 0)
        r = sessions_adopt(paging, err);
    if (r < 0)
        return r;
    r = pthread_create(&paging->thread, NULL, keeper_run, paging);
    paging->started = r == 0;
    return r != 0 ? error_errno(err, r, NULL, "keep pagers: start a thread") : 0;
}

struct paging *paging_open(const struct paging_config *config, struct error *err)
{
    struct paging *paging = calloc(1, sizeof(*paging));
    if (!paging) {
        error_errno(err, ENOMEM, NULL, "keep pagers");
        return NULL;
    }
    paging->event_fd = -1;
    if (mutexes_open(paging, err) < 0) {
        free(paging);
        return NULL;
    }
    if (open_all(paging, config, err) < 0) {
        paging_close(paging);
        return NULL;
    }
    return paging;
}

void paging_stop(struct paging *paging)
{
    if (!paging)
        return;
    pthread_mutex_lock(&paging->mutex);
    paging->stopping = true;
    pthread_mutex_unlock(&paging->mutex);
    if (!paging->started)
        return;
    paging_poke(paging);
    pthread_join(paging->thread, NULL);
    paging->started = false;
}

void paging_close(struct paging *paging)
{
    if (!paging)
        return;
    paging_stop(paging);
    while (paging->sessions)
        paging_remove(paging, paging->sessions);
    while (paging->pagers) {
        struct pager *pager = paging->pagers;
        paging->pagers = pager->next;
        pager_process_close(&pager->process);
        cleanup_close(&pager->program);
        free(pager->socket);
        free(pager);
    }
    cleanup_close(&paging->event_fd);
    pthread_cond_destroy(&paging->arrived);
    pthread_mutex_destroy(&paging->mutex);
    pthread_mutex_destroy(&paging->starting);
    free(paging->binary);
    free(paging->run_dir);
    free(paging->version);
    free(paging->guests_dir);
    free(paging);
}
