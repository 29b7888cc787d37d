/* SPDX-License-Identifier: Apache-2.0 */
#include "pager/worker.h"

#include <errno.h>
#include <limits.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "base/clock.h"
#include "pager/background.h"
#include "pager/crew.h"
#include "pager/serve.h"
#include "pager/uffd.h"

#define BATCH      32
#define HELP_LOOKS 200u       /* looks */
#define KICK       UINT64_MAX /* the eventfd among the epoll's data */

struct place {
    struct session *session;
    uint32_t generation; /* tells events of one that was here before */
};

struct worker {
    pthread_t thread;
    pthread_mutex_t lock; /* guards `places` and the sessions in them */
    atomic_uint waiting;  /* other threads that want the lock */
    int epoll_fd, event_fd;
    struct crew *crew;
    int member;        /* of the crew */
    bool helped;       /* just now */
    uint64_t arrivals; /* at the beginning of this turn, see crew_await() */
    atomic_bool stopping;
    atomic_uint load;
    unsigned used; /* places up to here may hold a session */
    unsigned turn; /* whose background work comes next */
    struct place places[WORKER_MAX_SESSIONS];
};

/* Kinds of descriptors of a session, in the low bit of the epoll's data. */
enum { EVENT_UFFD = 0, EVENT_PEER = 1 };

static uint64_t event_key(const struct worker *worker, uint32_t slot, unsigned kind)
{
    return (uint64_t)worker->places[slot].generation << 32 | slot << 1 | kind;
}

static bool is_live(const struct session *session)
{
    return session->state == SESSION_SERVING || session->state == SESSION_COMPLETING;
}

/* The VM has closed its socket, at its end or for reasons of its own. */
static void peer_left(struct session *session)
{
    epoll_ctl(session->worker->epoll_fd, EPOLL_CTL_DEL, session->peer, NULL);
    close(session->peer);
    session->peer = -1;
    if (session->state <= SESSION_COMPLETING && uffd_gone(session->uffd))
        session->state = SESSION_ENDED;
}

static void handle_event(struct worker *worker, const struct epoll_event *event)
{
    uint32_t slot = (uint32_t)event->data.u64 >> 1;
    if (event->data.u64 == KICK) {
        eventfd_t count = 0;
        (void)eventfd_read(worker->event_fd, &count); /* its being readable was all it says */
        return;
    }
    struct place *place = &worker->places[slot];
    if (!place->session || place->generation != event->data.u64 >> 32)
        return;
    if (event->data.u64 & EVENT_PEER)
        peer_left(place->session);
    else
        serve_events(place->session);
}

/* One slice of one session, in turn; and all faults that are due again. */
static void do_background(struct worker *worker)
{
    uint64_t now = time_monotonic_ns();
    bool sliced = false;
    for (unsigned i = 0; i < worker->used; i++) {
        unsigned slot = (worker->turn + i) % worker->used;
        struct session *session = worker->places[slot].session;
        if (!session || !is_live(session))
            continue;
        if (session->retry_ns != 0 && session->retry_ns <= now)
            serve_pending(session);
        if (sliced || background_due(session) > now)
            continue;
        background_slice(session, now);
        worker->turn = slot + 1;
        sliced = true;
    }
}

/* Milliseconds until something is due, -1: never. */
static int next_due(const struct worker *worker)
{
    uint64_t due = UINT64_MAX;
    for (unsigned i = 0; i < worker->used; i++) {
        const struct session *session = worker->places[i].session;
        if (!session || !is_live(session))
            continue;
        if (session->retry_ns != 0 && session->retry_ns < due)
            due = session->retry_ns;
        if (background_due(session) < due)
            due = background_due(session);
    }
    return due == UINT64_MAX ? -1 : time_left_ms(due);
}

/* Faults that waited for what has arrived since the last turn. */
static void do_arrived(struct worker *worker)
{
    uint64_t arrivals = crew_arrivals(worker->crew);
    if (arrivals == worker->arrivals)
        return;
    worker->arrivals = arrivals;
    for (unsigned i = 0; i < worker->used; i++) {
        if (worker->places[i].session)
            serve_arrived(worker->places[i].session);
    }
}

static bool awaits(const struct worker *worker)
{
    for (unsigned i = 0; i < worker->used; i++) {
        const struct session *session = worker->places[i].session;
        if (session && is_live(session) && session->awaited.count > 0)
            return true;
    }
    return false;
}

/* Returns how long the next turn may wait. */
static int turn(struct worker *worker, const struct epoll_event *events, int count)
{
    do_arrived(worker);
    for (int i = 0; i < count; i++)
        handle_event(worker, &events[i]);
    if (next_due(worker) >= 0)
        do_background(worker);
    if (awaits(worker) && !crew_await(worker->crew, worker->member, worker->arrivals))
        return 0;
    return next_due(worker);
}

/* One large fill is often followed by another: who has helped looks out for it for a while. */
static int look_out(struct worker *worker, struct epoll_event *events)
{
    int count = 0;
    for (unsigned looks = 0; count == 0 && looks < HELP_LOOKS; looks++) {
        if (crew_help(worker->crew))
            looks = 0;
        count = epoll_wait(worker->epoll_fd, events, BATCH, 0);
    }
    return count;
}

static int wait_for_events(struct worker *worker, struct epoll_event *events, int timeout)
{
    int count = worker->helped ? look_out(worker, events) : 0;
    if (count == 0) {
        crew_set_idle(worker->crew, worker->member, timeout != 0);
        count = epoll_wait(worker->epoll_fd, events, BATCH, timeout);
        crew_set_idle(worker->crew, worker->member, false);
    }
    worker->helped = crew_help(worker->crew);
    return count;
}

static void *run(void *argument)
{
    struct worker *worker = argument;
    struct epoll_event events[BATCH];
    int timeout = -1;
    crew_set_thread(worker->crew, worker->member);
    while (!atomic_load(&worker->stopping)) {
        int count = wait_for_events(worker, events, timeout);
        while (atomic_load(&worker->waiting) > 0)
            sched_yield();
        pthread_mutex_lock(&worker->lock);
        timeout = turn(worker, events, count);
        pthread_mutex_unlock(&worker->lock);
    }
    return NULL;
}

void worker_lock(struct worker *worker)
{
    atomic_fetch_add(&worker->waiting, 1);
    pthread_mutex_lock(&worker->lock);
    atomic_fetch_sub(&worker->waiting, 1);
}

void worker_unlock(struct worker *worker)
{
    pthread_mutex_unlock(&worker->lock);
}

void worker_kick(struct worker *worker)
{
    (void)eventfd_write(worker->event_fd, 1); /* full means that it is readable */
}

void worker_fill(const struct worker *worker, int uffd, struct crew_piece *pieces, unsigned count)
{
    crew_fill(worker->crew, worker->member, uffd, pieces, count);
}

unsigned worker_load(const struct worker *worker)
{
    return atomic_load(&worker->load);
}

static int watch(struct worker *worker, int fd, uint32_t events, uint64_t key, struct error *err)
{
    struct epoll_event event = {.events = events, .data.u64 = key};
    if (epoll_ctl(worker->epoll_fd, EPOLL_CTL_ADD, fd, &event) < 0)
        return error_errno(err, errno, NULL, "watch descriptor %d", fd);
    return 0;
}

static int free_slot(const struct worker *worker)
{
    for (unsigned i = 0; i < WORKER_MAX_SESSIONS; i++) {
        if (!worker->places[i].session)
            return (int)i;
    }
    return -1;
}

int worker_attach(struct worker *worker, struct session *session, struct error *err)
{
    int slot = free_slot(worker);
    if (slot < 0)
        return error_set(err, ERROR_RESOURCES, EMFILE, "session %s: a thread has %u already",
                         session->id, WORKER_MAX_SESSIONS);
    worker->places[slot].generation++;
    session->worker = worker;
    session->slot = (uint32_t)slot;
    int r =
        watch(worker, session->uffd, EPOLLIN, event_key(worker, session->slot, EVENT_UFFD), err);
    if (r == 0 && session->peer >= 0)
        r = watch(worker, session->peer, EPOLLRDHUP, event_key(worker, session->slot, EVENT_PEER),
                  err);
    if (r < 0) {
        worker_detach(session);
        return r;
    }
    worker->places[slot].session = session;
    if (worker->used <= (unsigned)slot)
        worker->used = (unsigned)slot + 1;
    atomic_fetch_add(&worker->load, 1);
    crew_set_serving(worker->crew, worker->member, true);
    worker_kick(worker);
    return 0;
}

void worker_detach(struct session *session)
{
    struct worker *worker = session->worker;
    (void)epoll_ctl(worker->epoll_fd, EPOLL_CTL_DEL, session->uffd, NULL); /* ENOENT is as good */
    if (session->peer >= 0)
        (void)epoll_ctl(worker->epoll_fd, EPOLL_CTL_DEL, session->peer, NULL);
    if (worker->places[session->slot].session == session && atomic_fetch_sub(&worker->load, 1) == 1)
        crew_set_serving(worker->crew, worker->member, false);
    worker->places[session->slot].session = NULL;
    session->worker = NULL;
}

static void worker_free(struct worker *worker)
{
    if (worker->epoll_fd >= 0)
        close(worker->epoll_fd);
    if (worker->event_fd >= 0)
        close(worker->event_fd);
    free(worker);
}

/* The signals that the control thread waits for are not this one's. */
static int thread_start(struct worker *worker)
{
    sigset_t all, before;
    sigfillset(&all);
    sigdelset(&all, SIGBUS);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    int r = pthread_create(&worker->thread, NULL, run, worker);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    return r;
}

struct worker *worker_start(struct crew *crew, struct error *err)
{
    struct worker *worker = calloc(1, sizeof(*worker));
    if (!worker) {
        error_errno(err, ENOMEM, NULL, "start a worker");
        return NULL;
    }
    pthread_mutex_init(&worker->lock, NULL);
    worker->epoll_fd = epoll_create1(EPOLL_CLOEXEC);
    worker->event_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    if (worker->epoll_fd < 0 || worker->event_fd < 0) {
        error_errno(err, errno, NULL, "start a worker");
        worker_free(worker);
        return NULL;
    }
    worker->crew = crew;
    worker->member = crew_join(crew, worker->event_fd);
    int r = watch(worker, worker->event_fd, EPOLLIN, KICK, err);
    if (r == 0 && (r = thread_start(worker)) != 0)
        r = error_errno(err, r, NULL, "start a worker");
    if (r < 0) {
        worker_free(worker);
        return NULL;
    }
    return worker;
}

void worker_stop(struct worker *worker)
{
    if (!worker)
        return;
    atomic_store(&worker->stopping, true);
    worker_kick(worker);
    pthread_join(worker->thread, NULL);
    pthread_mutex_destroy(&worker->lock);
    worker_free(worker);
}
