/* SPDX-License-Identifier: Apache-2.0 */
#include "instance/watch.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/wait.h>

#include "agent/watch.h"
#include "base/clock.h"
#include "base/log.h"
#include "instance/restart.h"
#include "instance/watch_treat.h"

#define RETRY_MS      100 /* an operation holds the instance */
#define PROBE_MS      1000
#define POWER_OFF_MS  10000 /* what a guest may take to power off once its program is over */
#define EVENTS        16
#define WAKE_EVENT    0            /* number of the eventfd; entries count from 1 */
#define PROGRAM_EVENT (1ull << 63) /* with an entry's number: from its agent, not its VMM */

enum program_stage {
    PROGRAM_NONE,
    PROGRAM_FOLLOWED, /* its end is waited for; while `agent` is not open, from `due_ns` on again */
    PROGRAM_OVER,     /* `outcome` is to be recorded */
    PROGRAM_RECORDED, /* at `due_ns` the VM has to be gone */
};

struct entry {
    struct entry *next;
    uint64_t number; /* what epoll tells; never used twice */
    char id[INSTANCE_ID_LENGTH + 1];
    int pidfd;
    bool dead, probe;
    char how[64]; /* with dead: how it ended */
    enum program_stage program;
    struct agent_watch agent;
    struct agent_exit outcome;
    uint64_t due_ns;
    unsigned pager_changes, pager_seen; /* of its session with its pager */
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

static void agent_forget(struct watch *watch, struct entry *entry)
{
    if (entry->agent.fd >= 0)
        epoll_ctl(watch->epoll_fd, EPOLL_CTL_DEL, entry->agent.fd, NULL);
    agent_watch_close(&entry->agent);
}

static void entry_free(struct watch *watch, struct entry *entry)
{
    agent_forget(watch, entry);
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
    entry->agent.fd = -1;
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

void watch_program(struct watch *watch, const char *id)
{
    pthread_mutex_lock(&watch->mutex);
    struct entry *entry = *find_link(watch, id);
    if (entry && entry->program == PROGRAM_NONE)
        entry->program = PROGRAM_FOLLOWED;
    pthread_mutex_unlock(&watch->mutex);
    poke(watch);
}

void watch_pager(struct watch *watch, const char *id)
{
    pthread_mutex_lock(&watch->mutex);
    struct entry *entry = *find_link(watch, id);
    if (entry)
        entry->pager_changes++;
    pthread_mutex_unlock(&watch->mutex);
    poke(watch);
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

/* With the mutex held. */
static void agent_connect_again(struct watch *watch, struct entry *entry)
{
    char path[PATH_MAX];
    struct error err = {0};
    int n = snprintf(path, sizeof(path), "%s/%s/" GUEST_VSOCK_SOCKET, watch->host->guests_dir,
                     entry->id);
    struct epoll_event event = {.events = EPOLLIN, .data.u64 = entry->number | PROGRAM_EVENT};
    int r = n < 0 || (size_t)n >= sizeof(path)
                ? error_errno(&err, ENAMETOOLONG, entry->id, "watch the program")
                : agent_watch_open(&entry->agent, path, &err);
    if (r == 0 && epoll_ctl(watch->epoll_fd, EPOLL_CTL_ADD, entry->agent.fd, &event) < 0)
        r = error_errno(&err, errno, entry->id, "watch the program");
    if (r == 0)
        return;
    log_debug("instance %s: %s", entry->id, err.message);
    agent_watch_close(&entry->agent);
    entry->due_ns = time_after_ms(PROBE_MS);
}

/* Connects to the agents it is time for. True if there is something to come back for. */
static bool follow_programs(struct watch *watch)
{
    bool waiting = false;
    pthread_mutex_lock(&watch->mutex);
    for (struct entry *entry = watch->entries; entry; entry = entry->next) {
        bool apart = entry->program == PROGRAM_FOLLOWED && entry->agent.fd < 0 && !entry->dead;
        if (apart && time_monotonic_ns() >= entry->due_ns)
            agent_connect_again(watch, entry);
        waiting = waiting || (apart && entry->agent.fd < 0) || entry->program == PROGRAM_RECORDED;
    }
    pthread_mutex_unlock(&watch->mutex);
    return waiting;
}

/* With the mutex held. A connection that is lost is made again, for as long as the VMM lives. */
static void agent_hear(struct watch *watch, struct entry *entry)
{
    struct error err = {0};
    if (entry->agent.fd < 0)
        return;
    int r = agent_watch_take(&entry->agent, &entry->outcome, &err);
    if (r > 0) {
        entry->program = PROGRAM_OVER;
        epoll_ctl(watch->epoll_fd, EPOLL_CTL_DEL, entry->agent.fd, NULL);
    } else if (r < 0) {
        log_debug("instance %s: %s", entry->id, err.message);
        agent_forget(watch, entry);
        entry->due_ns = time_after_ms(PROBE_MS);
    }
}

static void mark_heard(struct watch *watch, uint64_t number)
{
    pthread_mutex_lock(&watch->mutex);
    for (struct entry *entry = watch->entries; entry; entry = entry->next) {
        if (entry->number == number && entry->program == PROGRAM_FOLLOWED)
            agent_hear(watch, entry);
    }
    pthread_mutex_unlock(&watch->mutex);
}

static enum need need_of(const struct entry *entry)
{
    if (entry->dead)
        return NEED_SETTLE;
    if (entry->pager_changes != entry->pager_seen)
        return NEED_PAGER;
    if (entry->probe)
        return NEED_PROBE;
    if (entry->program == PROGRAM_OVER)
        return NEED_RECORD;
    bool late = entry->program == PROGRAM_RECORDED && time_monotonic_ns() >= entry->due_ns;
    return late ? NEED_KILL : NEED_NOTHING;
}

/* With the mutex held: the guest, told, is going to power off. */
static void power_off_begins(struct watch *watch, struct entry *entry)
{
    struct error err = {0};
    if (entry->program == PROGRAM_OVER && agent_watch_taken(&entry->agent, &err) < 0)
        log_info("instance %s: %s", entry->id, err.message);
    entry->program = PROGRAM_RECORDED;
    agent_forget(watch, entry);
    entry->due_ns = time_after_ms(POWER_OFF_MS);
}

/* Forgets what was dealt with, unless the entry was replaced meanwhile. */
static void entry_done(struct watch *watch, uint64_t number, const struct need_of *done)
{
    pthread_mutex_lock(&watch->mutex);
    struct entry *entry = *find_link(watch, done->id);
    if (entry && entry->number == number) {
        if (done->need == NEED_SETTLE)
            remove_entry(watch, done->id);
        else if (done->need == NEED_PAGER)
            entry->pager_seen = done->pager_changes;
        else if (done->need == NEED_PROBE)
            entry->probe = false;
        else
            power_off_begins(watch, entry);
    }
    pthread_mutex_unlock(&watch->mutex);
}

/* The first entry behind number `after` that needs work, or 0: entries come and go meanwhile. */
static uint64_t next_need(struct watch *watch, uint64_t after, struct need_of *need)
{
    const struct entry *best = NULL;
    pthread_mutex_lock(&watch->mutex);
    for (const struct entry *entry = watch->entries; entry && !watch->stopping;
         entry = entry->next) {
        if (need_of(entry) != NEED_NOTHING && entry->number > after &&
            (!best || entry->number < best->number))
            best = entry;
    }
    uint64_t number = best ? best->number : 0;
    if (best) {
        *need = (struct need_of){
            .need = need_of(best), .outcome = best->outcome, .pager_changes = best->pager_changes};
        memcpy(need->id, best->id, sizeof(need->id));
        memcpy(need->how, best->how, sizeof(need->how));
    }
    pthread_mutex_unlock(&watch->mutex);
    return number;
}

/* Returns how long to sleep: -1 until something happens. */
static int treat_all(struct watch *watch)
{
    struct need_of need;
    uint64_t number = 0;
    int sleep_ms = follow_programs(watch) ? PROBE_MS : -1;
    while ((number = next_need(watch, number, &need)) != 0) {
        enum outcome outcome = watch_treat(watch->host, &need);
        if (outcome == DONE)
            entry_done(watch, number, &need);
        if (outcome == BUSY && need.need != NEED_PROBE)
            sleep_ms = RETRY_MS;
        else if (sleep_ms < 0 && (outcome != DONE || need.need == NEED_RECORD))
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
            uint64_t number = events[i].data.u64;
            if (number & PROGRAM_EVENT)
                mark_heard(watch, number & ~PROGRAM_EVENT);
            else if (number != WAKE_EVENT)
                mark_dead(watch, number);
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
