/* SPDX-License-Identifier: Apache-2.0 */
#include "instance/due.h"

#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/timerfd.h>

#include "base/clock.h"
#include "base/log.h"

#define MS           1000000ull
#define BUSY_NS      (100 * MS) /* an operation holds the instance */
#define BUSY_MAX     8          /* so many times; then it is waited for */
#define RETRY_NS     (200 * MS)
#define RETRY_MAX_NS (300000 * MS)
#define FOREVER      UINT64_MAX

/* An instance whose time has come, and that could not be dealt with yet. */
struct late {
    struct late *next;
    char id[INSTANCE_ID_LENGTH + 1];
    unsigned busy, failed;
    uint64_t again_ns; /* CLOCK_MONOTONIC */
    bool seen;
};

struct due {
    struct host *host;
    const struct due_kind *kind;
    pthread_t thread;
    bool started;
    atomic_bool stopping, working;
    int timer_fd; /* CLOCK_REALTIME */
    int event_fd;
    struct late *late; /* the thread's own */
};

static struct late *late_find(struct due *due, const char *id)
{
    struct late *late = due->late;
    while (late && strcmp(late->id, id) != 0)
        late = late->next;
    if (late)
        return late;
    late = calloc(1, sizeof(*late));
    if (!late)
        return NULL;
    snprintf(late->id, sizeof(late->id), "%s", id);
    late->next = due->late;
    due->late = late;
    return late;
}

/* Forgets those that a walk did not meet: nothing is due any more. */
static void late_sweep(struct due *due, bool all)
{
    for (struct late **link = &due->late; *link;) {
        struct late *late = *link;
        bool stays = late->seen && !all;
        late->seen = false;
        if (stays) {
            link = &late->next;
        } else {
            *link = late->next;
            free(late);
        }
    }
}

static void late_again(struct late *late, bool busy)
{
    uint64_t pause = BUSY_NS;
    if (busy) {
        late->busy++;
    } else {
        unsigned doublings = late->failed < 16 ? late->failed : 16;
        pause = RETRY_NS << doublings;
        late->failed++;
    }
    late->again_ns = time_monotonic_ns() + (pause < RETRY_MAX_NS ? pause : RETRY_MAX_NS);
}

static void treat(const struct due *due, struct late *late)
{
    struct error err = {0};
    _cleanup_(log_context) struct log_context context;
    _cleanup_(operation) struct operation op = OPERATION_NONE;
    enum lock_kind lock = late->busy < BUSY_MAX ? LOCK_TRY_EXCLUSIVE : LOCK_EXCLUSIVE;
    log_context_begin(&context, late->id, NULL);
    int r = operation_begin_raw(due->host, late->id, lock, &op, &err);
    bool busy = r == -EBUSY && lock == LOCK_TRY_EXCLUSIVE;
    if (r == -ENOENT)
        return; /* deleted meanwhile */
    if (r < 0 && !busy)
        log_error("instance %s, when its %s was due: %s", late->id, due->kind->name, err.message);
    if (r == 0)
        r = due->kind->run(&op, &err);
    if (r < 0)
        late_again(late, busy);
}

/* One whose time has come. Returns when to look at it again; 0: it is dealt with. */
static uint64_t treat_due(struct due *due, const char *id)
{
    struct late *late = late_find(due, id);
    if (!late)
        return time_monotonic_ns() + RETRY_NS;
    if (late->again_ns <= time_monotonic_ns()) {
        late->again_ns = 0;
        treat(due, late);
    }
    late->seen = late->again_ns > 0;
    return late->again_ns;
}

/* When to look again: the first deadline that is ahead, by the wall clock, and the first retry. */
struct wake {
    uint64_t deadline_ns, retry_ns;
};

static struct wake treat_all(struct due *due)
{
    struct wake wake = {FOREVER, FOREVER};
    struct error err = {0};
    _cleanup_(free) struct store_due *list = NULL;
    size_t count = 0;
    if (store_list_due(due->host->store, due->kind->deadline, &list, &count, &err) < 0) {
        log_error("look for the next %s: %s", due->kind->name, err.message);
        wake.retry_ns = time_monotonic_ns() + RETRY_MAX_NS;
        return wake;
    }
    for (size_t i = 0; i < count && !atomic_load(&due->stopping); i++) {
        if (list[i].at_ns > time_realtime_ns()) {
            wake.deadline_ns = list[i].at_ns;
            break;
        }
        uint64_t again = treat_due(due, list[i].id);
        if (again == 0)
            again = time_monotonic_ns(); /* the list is old by now: it may have another deadline */
        if (again < wake.retry_ns)
            wake.retry_ns = again;
    }
    late_sweep(due, false);
    return wake;
}

/* A deadline that has passed meanwhile wakes at once; so does a clock that is set. */
static void arm(const struct due *due, uint64_t deadline_ns)
{
    struct itimerspec when = {.it_value = {.tv_sec = 0}};
    if (deadline_ns != FOREVER)
        when.it_value = (struct timespec){(time_t)(deadline_ns / 1000000000u),
                                          (long)(deadline_ns % 1000000000u)};
    if (timerfd_settime(due->timer_fd, TFD_TIMER_ABSTIME | TFD_TIMER_CANCEL_ON_SET, &when, NULL) <
            0 &&
        errno != ECANCELED)
        log_error("set the timer of the next %s: %s", due->kind->name, strerror(errno));
}

/* Reading takes the wake back; the timer of a clock that was set says ECANCELED, which is one too.
 */
static void wait_for(const struct due *due, const struct wake *wake)
{
    struct pollfd fds[] = {{.fd = due->timer_fd, .events = POLLIN},
                           {.fd = due->event_fd, .events = POLLIN}};
    uint64_t ignored;
    arm(due, wake->deadline_ns);
    poll(fds, ARRAY_SIZE(fds), wake->retry_ns == FOREVER ? -1 : time_left_ms(wake->retry_ns));
    for (size_t i = 0; i < ARRAY_SIZE(fds); i++) {
        if (read(fds[i].fd, &ignored, sizeof(ignored)) < 0 && errno != EAGAIN && errno != ECANCELED)
            log_warning("wait for the next %s: %s", due->kind->name, strerror(errno));
    }
}

static void *due_run(void *context)
{
    struct due *due = context;
    while (!atomic_load(&due->stopping)) {
        atomic_store(&due->working, true);
        const struct wake wake = treat_all(due);
        atomic_store(&due->working, false);
        if (!atomic_load(&due->stopping))
            wait_for(due, &wake);
    }
    return NULL;
}

struct due *due_start(struct host *host, const struct due_kind *kind, struct error *err)
{
    struct due *due = calloc(1, sizeof(*due));
    if (!due) {
        error_errno(err, ENOMEM, NULL, "wait for the next %s", kind->name);
        return NULL;
    }
    due->host = host;
    due->kind = kind;
    due->timer_fd = timerfd_create(CLOCK_REALTIME, TFD_CLOEXEC | TFD_NONBLOCK);
    due->event_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    int r = due->timer_fd < 0 || due->event_fd < 0
                ? errno
                : pthread_create(&due->thread, NULL, due_run, due);
    due->started = r == 0;
    if (r == 0)
        return due;
    error_errno(err, r, NULL, "wait for the next %s", kind->name);
    due_stop(due);
    return NULL;
}

void due_poke(struct due *due)
{
    const uint64_t one = 1;
    if (due && write(due->event_fd, &one, sizeof(one)) < 0 && errno != EAGAIN)
        log_warning("tell of the next %s: %s", due->kind->name, strerror(errno));
}

bool due_quiesce(struct due *due)
{
    atomic_store(&due->stopping, true);
    return atomic_load(&due->working);
}

void due_stop(struct due *due)
{
    if (!due)
        return;
    due_quiesce(due);
    if (due->started) {
        due_poke(due);
        pthread_join(due->thread, NULL);
    }
    late_sweep(due, true);
    if (due->timer_fd >= 0)
        close(due->timer_fd);
    if (due->event_fd >= 0)
        close(due->event_fd);
    free(due);
}
