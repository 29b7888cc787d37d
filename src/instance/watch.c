/* SPDX-License-Identifier: Apache-2.0 */
#include "instance/watch.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/wait.h>

#include "base/log.h"
#include "instance/console.h"
#include "instance/directory.h"
#include "instance/restart.h"
#include "instance/settle.h"
#include "instance/telemetry.h"
#include "instance/wake.h"

#define RETRY_MS   100 /* an operation holds the instance */
#define PROBE_MS   1000
#define ANSWER_MS  500 /* how long one probe may hold the instance */
#define EVENTS     16
#define WAKE_EVENT 0 /* number of the eventfd; entries count from 1 */

struct entry {
    struct entry *next;
    uint64_t number; /* what epoll tells; never used twice */
    char id[INSTANCE_ID_LENGTH + 1];
    int pidfd;
    bool dead, probe;
    char how[64]; /* with dead: how it ended */
};

struct watch {
    struct host *host;
    pthread_t thread;
    pthread_mutex_t mutex; /* guards the list, the entries, `stopping` */
    struct entry *entries;
    uint64_t last_number;
    bool stopping;
    int epoll_fd, event_fd;
};

static void entry_free(struct watch *watch, struct entry *entry)
{
    /* The descriptor is a duplicate: closing it does not take it out of the epoll set. */
    if (!entry->dead)
        epoll_ctl(watch->epoll_fd, EPOLL_CTL_DEL, entry->pidfd, NULL);
    close(entry->pidfd);
    free(entry);
}

/* With the mutex held: the link that points to the instance's entry, or to NULL. */
static struct entry **find_link(struct watch *watch, const char *id)
{
    struct entry **link = &watch->entries;
    while (*link && strcmp((*link)->id, id) != 0)
        link = &(*link)->next;
    return link;
}

static struct entry *take_entry(struct watch *watch, const char *id)
{
    struct entry **link = find_link(watch, id);
    struct entry *entry = *link;
    if (entry)
        *link = entry->next;
    return entry;
}

static void remove_entry(struct watch *watch, const char *id)
{
    struct entry *entry = take_entry(watch, id);
    if (entry)
        entry_free(watch, entry);
}

static void poke(struct watch *watch)
{
    const uint64_t one = 1;
    if (write(watch->event_fd, &one, sizeof(one)) < 0 && errno != EAGAIN)
        log_warning("wake the watcher: %s", strerror(errno));
}

static int entry_add(struct watch *watch, struct entry *entry, struct error *err)
{
    entry->number = ++watch->last_number;
    struct epoll_event event = {.events = EPOLLIN, .data.u64 = entry->number};
    if (epoll_ctl(watch->epoll_fd, EPOLL_CTL_ADD, entry->pidfd, &event) < 0)
        return error_errno(err, errno, entry->id, "watch the VMM of %s", entry->id);
    entry->next = watch->entries;
    watch->entries = entry;
    return 0;
}

int watch_add(struct watch *watch, const char *id, int pidfd, bool probe, struct error *err)
{
    struct entry *entry = calloc(1, sizeof(*entry));
    if (!entry)
        return error_errno(err, ENOMEM, id, "watch the VMM of %s", id);
    snprintf(entry->id, sizeof(entry->id), "%s", id);
    entry->probe = probe;
    entry->pidfd = fcntl(pidfd, F_DUPFD_CLOEXEC, 0);
    int r = entry->pidfd < 0 ? error_errno(err, errno, id, "watch the VMM of %s", id) : 0;
    if (r == 0) {
        pthread_mutex_lock(&watch->mutex);
        remove_entry(watch, id);
        r = entry_add(watch, entry, err);
        pthread_mutex_unlock(&watch->mutex);
    }
    if (r < 0) {
        if (entry->pidfd >= 0)
            close(entry->pidfd);
        free(entry);
        return r;
    }
    if (probe)
        poke(watch);
    return 0;
}

/* A leader that is a zombie may have threads that still go: only the pidfd tells the end of all. */
static void reap(const struct entry *entry)
{
    struct pollfd end = {.fd = entry->pidfd, .events = POLLIN};
    siginfo_t info;
    if (poll(&end, 1, VMM_KILL_MS) < 1 ||
        (waitid(P_PIDFD, (id_t)entry->pidfd, &info, WEXITED | WNOHANG) < 0 && errno != ECHILD))
        log_warning("the VMM of %s was not reaped", entry->id);
}

void watch_remove(struct watch *watch, const char *id)
{
    pthread_mutex_lock(&watch->mutex);
    struct entry *entry = take_entry(watch, id);
    pthread_mutex_unlock(&watch->mutex);
    if (!entry)
        return;
    if (!entry->dead)
        reap(entry);
    entry_free(watch, entry);
}

/* Reaps it where it is our child (else ECHILD: an adopted one), and says how it ended. */
static void describe_end(struct entry *entry)
{
    siginfo_t info = {.si_pid = 0};
    snprintf(entry->how, sizeof(entry->how), "the VMM ended");
    if (waitid(P_PIDFD, (id_t)entry->pidfd, &info, WEXITED | WNOHANG) < 0 || info.si_pid == 0)
        return;
    if (info.si_code == CLD_EXITED && info.si_status == 0)
        snprintf(entry->how, sizeof(entry->how), ENDED_POWERED_OFF);
    else if (info.si_code == CLD_EXITED)
        snprintf(entry->how, sizeof(entry->how), "the VMM exited with status %d", info.si_status);
    else
        snprintf(entry->how, sizeof(entry->how), "the VMM was killed by signal %d (SIG%s)",
                 info.si_status, sigabbrev_np(info.si_status) ? sigabbrev_np(info.si_status) : "?");
}

static void mark_dead(struct watch *watch, uint64_t number)
{
    pthread_mutex_lock(&watch->mutex);
    for (struct entry *entry = watch->entries; entry; entry = entry->next) {
        if (entry->number != number || entry->dead)
            continue;
        epoll_ctl(watch->epoll_fd, EPOLL_CTL_DEL, entry->pidfd, NULL);
        describe_end(entry);
        entry->dead = true;
    }
    pthread_mutex_unlock(&watch->mutex);
}

enum outcome {
    DONE,
    BUSY,  /* an operation has the instance */
    LATER, /* it did not work, or there is no answer yet */
};

/* The state after a death: found from what is on disk. */
static enum outcome settle_dead(struct host *host, const struct entry *entry, struct operation *op)
{
    struct error err = {0};
    struct vm_process process;
    bool alive = operation_process(op, &process);
    process_release(&process);
    /* Another VMM, or an operation that has dealt with it. */
    if (alive || !record_has_vmm(&op->record))
        return DONE;
    char why[sizeof(op->record.exit_message)];
    struct console_line line = console_last_line(op);
    bool quiet = strcmp(entry->how, ENDED_POWERED_OFF) == 0 || !line.text[0];
    snprintf(why, sizeof(why), "%s%s%s", entry->how, quiet ? "" : "; the " CONSOLE_ENDS,
             quiet ? "" : line.text);
    if (settle_without_vmm(op, why, &err) == 0)
        return DONE;
    log_error("instance %s: its VMM ended, and: %s", entry->id, err.message);
    return LATER;
}

/* Which wake this is, is not known any more; the first gives a fork its name. */
static const char *fork_name(const struct operation *op)
{
    return op->record.parent_id[0] ? op->record.name : NULL;
}

/* An adopted guest that may not know yet that it woke. */
static enum outcome probe(struct host *host, struct operation *op)
{
    struct vm_process process;
    bool done = !operation_process(op, &process) || op->record.state != INSTANCE_INITIALIZING;
    if (!done && wake_agent(op, &process, fork_name(op), ANSWER_MS, NULL) == 0) {
        struct error err = {0};
        op->record.state = INSTANCE_RUNNING;
        if (unlinkat(op->guest_fd, GUEST_BASE "/" SNAPSHOT_STATE, 0) < 0 && errno != ENOENT)
            log_warning("instance %s: remove base/state: %s", op->record.id, strerror(errno));
        done = store_update(host->store, &op->record, &err) == 0;
        if (done)
            telemetry_event(op, "agent-ready", "", "", "");
        else
            log_error("instance %s: %s", op->record.id, err.message);
    }
    process_release(&process);
    return done ? DONE : LATER;
}

/* Works on one entry (a copy: nothing is locked meanwhile but the instance). */
static enum outcome treat(struct host *host, const struct entry *entry)
{
    struct error err = {0};
    _cleanup_(log_context) struct log_context context;
    _cleanup_(operation) struct operation op = OPERATION_NONE;
    log_context_begin(&context, entry->id, NULL);
    int r = operation_begin_raw(host, entry->id, LOCK_TRY_EXCLUSIVE, &op, &err);
    if (r == -ENOENT)
        return DONE; /* deleted */
    if (r == -EBUSY)
        return BUSY;
    if (r == 0)
        r = operation_open_directory(&op, &err);
    if (r < 0) {
        log_error("instance %s: %s", entry->id, err.message);
        return LATER;
    }
    return entry->dead ? settle_dead(host, entry, &op) : probe(host, &op);
}

/* Forgets what was dealt with, unless it was replaced meanwhile. */
static void entry_done(struct watch *watch, const struct entry *done)
{
    pthread_mutex_lock(&watch->mutex);
    struct entry *entry = *find_link(watch, done->id);
    if (entry && entry->number == done->number) {
        if (done->dead)
            remove_entry(watch, done->id);
        else
            entry->probe = false;
    }
    pthread_mutex_unlock(&watch->mutex);
}

/* The first entry behind number `after` that needs work: entries come and go meanwhile. */
static bool next_entry(struct watch *watch, uint64_t after, struct entry *copy)
{
    const struct entry *best = NULL;
    pthread_mutex_lock(&watch->mutex);
    for (const struct entry *entry = watch->entries; entry && !watch->stopping;
         entry = entry->next) {
        if ((entry->dead || entry->probe) && entry->number > after &&
            (!best || entry->number < best->number))
            best = entry;
    }
    if (best)
        *copy = *best;
    pthread_mutex_unlock(&watch->mutex);
    return best != NULL;
}

/* Returns how long to sleep: -1 until something happens. */
static int treat_all(struct watch *watch)
{
    struct entry entry = {.number = 0};
    int sleep_ms = -1;
    while (next_entry(watch, entry.number, &entry)) {
        enum outcome outcome = treat(watch->host, &entry);
        if (outcome == DONE)
            entry_done(watch, &entry);
        else if (outcome == BUSY && entry.dead)
            sleep_ms = RETRY_MS;
        else if (sleep_ms < 0)
            sleep_ms = PROBE_MS;
    }
    return sleep_ms;
}

static bool is_stopping(struct watch *watch)
{
    pthread_mutex_lock(&watch->mutex);
    bool stopping = watch->stopping;
    pthread_mutex_unlock(&watch->mutex);
    return stopping;
}

static void *watch_run(void *context)
{
    struct watch *watch = context;
    int sleep_ms = -1;
    while (!is_stopping(watch)) {
        struct epoll_event events[EVENTS];
        int count = epoll_wait(watch->epoll_fd, events, EVENTS, sleep_ms);
        for (int i = 0; i < count; i++) {
            uint64_t ignored;
            if (events[i].data.u64 != WAKE_EVENT)
                mark_dead(watch, events[i].data.u64);
            else if (read(watch->event_fd, &ignored, sizeof(ignored)) < 0)
                continue;
        }
        sleep_ms = treat_all(watch);
    }
    return NULL;
}

static int watch_open(struct watch *watch, struct error *err)
{
    watch->epoll_fd = epoll_create1(EPOLL_CLOEXEC);
    watch->event_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    struct epoll_event event = {.events = EPOLLIN, .data.u64 = WAKE_EVENT};
    if (watch->epoll_fd < 0 || watch->event_fd < 0 ||
        epoll_ctl(watch->epoll_fd, EPOLL_CTL_ADD, watch->event_fd, &event) < 0)
        return error_errno(err, errno, NULL, "watch VMMs");
    int r = pthread_create(&watch->thread, NULL, watch_run, watch);
    return r != 0 ? error_errno(err, r, NULL, "watch VMMs: start a thread") : 0;
}

static void watch_free(struct watch *watch)
{
    while (watch->entries)
        remove_entry(watch, watch->entries->id);
    if (watch->epoll_fd >= 0)
        close(watch->epoll_fd);
    if (watch->event_fd >= 0)
        close(watch->event_fd);
    pthread_mutex_destroy(&watch->mutex);
    free(watch);
}

struct watch *watch_start(struct host *host, struct error *err)
{
    struct watch *watch = calloc(1, sizeof(*watch));
    if (!watch) {
        error_errno(err, ENOMEM, NULL, "watch VMMs");
        return NULL;
    }
    watch->host = host;
    watch->epoll_fd = watch->event_fd = -1;
    pthread_mutex_init(&watch->mutex, NULL);
    if (watch_open(watch, err) < 0) {
        watch_free(watch);
        return NULL;
    }
    return watch;
}

void watch_stop(struct watch *watch)
{
    if (!watch)
        return;
    pthread_mutex_lock(&watch->mutex);
    watch->stopping = true;
    pthread_mutex_unlock(&watch->mutex);
    poke(watch);
    pthread_join(watch->thread, NULL);
    watch_free(watch);
}
