/* SPDX-License-Identifier: Apache-2.0 */
#include "instance/expiry.h"

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
#include "instance/host.h"
#include "instance/lifetime.h"
#include "instance/telemetry.h"
#include "instance/trace.h"

#define MS           1000000u
#define BUSY_NS      (100u * MS) /* an operation holds the instance */
#define BUSY_MAX     8           /* so many times; then it is waited for */
#define RETRY_NS     (200u * MS)
#define RETRY_MAX_NS (300000ull * MS)
#define FOREVER      UINT64_MAX

/* An instance whose time is over and that is still there. */
struct late {
    struct late *next;
    char id[INSTANCE_ID_LENGTH + 1];
    unsigned busy, failed;
    uint64_t again_ns; /* CLOCK_MONOTONIC */
    bool seen;
};

struct expiry {
    struct host *host;
    pthread_t thread;
    bool started;
    atomic_bool stopping;
    int timer_fd; /* CLOCK_REALTIME */
    int event_fd;
    struct late *late; /* the thread's own */
};

static struct late *late_find(struct expiry *expiry, const char *id)
{
    struct late *late = expiry->late;
    while (late && strcmp(late->id, id) != 0)
        late = late->next;
    if (late)
        return late;
    late = calloc(1, sizeof(*late));
    if (!late)
        return NULL;
    snprintf(late->id, sizeof(late->id), "%s", id);
    late->next = expiry->late;
    expiry->late = late;
    return late;
}

/* Forgets those that a walk did not meet: they are gone, or have more time. */
static void late_sweep(struct expiry *expiry, bool all)
{
    for (struct late **link = &expiry->late; *link;) {
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

/* `r` says what came of it: -EBUSY of the lock, or of the delete. */
static void late_again(struct late *late, bool busy)
{
    uint64_t pause = BUSY_NS;
    if (busy) {
        late->busy++;
    } else {
        unsigned doublings = late->failed < 16 ? late->failed : 16;
        pause = (uint64_t)RETRY_NS << doublings;
        late->failed++;
    }
    late->again_ns = time_monotonic_ns() + (pause < RETRY_MAX_NS ? pause : RETRY_MAX_NS);
}

static int delete_expired(struct operation *op, struct error *err)
{
    char note[LIFETIME_NOTE];
    lifetime_note(&op->record, note);
    int r = delete_locked(op, note, err);
    if (r == 0)
        metric_add(op->host->telemetry->expired, 1, NULL);
    return r;
}

static void treat(struct host *host, struct late *late)
{
    struct error err = {0};
    _cleanup_(log_context) struct log_context context;
    _cleanup_(operation) struct operation op = OPERATION_NONE;
    enum lock_kind lock = late->busy < BUSY_MAX ? LOCK_TRY_EXCLUSIVE : LOCK_EXCLUSIVE;
    log_context_begin(&context, late->id, NULL);
    int r = operation_begin_raw(host, late->id, lock, &op, &err);
    bool busy = r == -EBUSY && lock == LOCK_TRY_EXCLUSIVE;
    if (r == -ENOENT)
        return; /* somebody else has deleted it */
    if (r < 0 && !busy)
        log_error("instance %s has expired: %s", late->id, err.message);
    if (r == 0 && !lifetime_is_over(&op.record))
        return; /* it was given more */
    if (r == 0)
        r = delete_expired(&op, &err);
    if (r < 0)
        late_again(late, busy);
}

/* One whose time is over. Returns when to look at it again; 0: it is dealt with. */
static uint64_t treat_due(struct expiry *expiry, const char *id)
{
    struct late *late = late_find(expiry, id);
    if (!late)
        return time_monotonic_ns() + RETRY_NS;
    if (late->again_ns <= time_monotonic_ns()) {
        late->again_ns = 0;
        treat(expiry->host, late);
    }
    late->seen = late->again_ns > 0;
    return late->again_ns;
}

/* When to look again: the first deadline that is ahead, by the wall clock, and the first retry. */
struct wake {
    uint64_t deadline_ns, retry_ns;
};

static struct wake treat_all(struct expiry *expiry)
{
    struct wake wake = {FOREVER, FOREVER};
    struct error err = {0};
    _cleanup_(free) struct store_expiry *expiries = NULL;
    size_t count = 0;
    if (store_list_expiries(expiry->host->store, &expiries, &count, &err) < 0) {
        log_error("look for what has expired: %s", err.message);
        wake.retry_ns = time_monotonic_ns() + RETRY_MAX_NS;
        return wake;
    }
    for (size_t i = 0; i < count && !atomic_load(&expiry->stopping); i++) {
        if (expiries[i].at_ns > time_realtime_ns()) {
            wake.deadline_ns = expiries[i].at_ns;
            break;
        }
        uint64_t again = treat_due(expiry, expiries[i].id);
        if (again > 0 && again < wake.retry_ns)
            wake.retry_ns = again;
    }
    late_sweep(expiry, false);
    return wake;
}

/* A deadline that has passed meanwhile wakes at once; so does a clock that is set. */
static void arm(const struct expiry *expiry, uint64_t deadline_ns)
{
    struct itimerspec when = {.it_value = {.tv_sec = 0}};
    if (deadline_ns != FOREVER)
        when.it_value = (struct timespec){(time_t)(deadline_ns / 1000000000u),
                                          (long)(deadline_ns % 1000000000u)};
    if (timerfd_settime(expiry->timer_fd, TFD_TIMER_ABSTIME | TFD_TIMER_CANCEL_ON_SET, &when,
                        NULL) < 0 &&
        errno != ECANCELED)
        log_error("set the timer of what expires: %s", strerror(errno));
}

static int timeout_ms(uint64_t retry_ns)
{
    uint64_t now = time_monotonic_ns();
    if (retry_ns == FOREVER)
        return -1;
    return retry_ns <= now ? 0 : (int)((retry_ns - now) / MS) + 1;
}

/* Reading takes the wake back; the timer of a clock that was set says ECANCELED, which is one too.
 */
static void wait_for(const struct expiry *expiry, const struct wake *wake)
{
    struct pollfd fds[] = {{.fd = expiry->timer_fd, .events = POLLIN},
                           {.fd = expiry->event_fd, .events = POLLIN}};
    uint64_t ignored;
    arm(expiry, wake->deadline_ns);
    poll(fds, ARRAY_SIZE(fds), timeout_ms(wake->retry_ns));
    for (size_t i = 0; i < ARRAY_SIZE(fds); i++) {
        if (read(fds[i].fd, &ignored, sizeof(ignored)) < 0 && errno != EAGAIN && errno != ECANCELED)
            log_warning("wait for what expires: %s", strerror(errno));
    }
}

static void *expiry_run(void *context)
{
    struct expiry *expiry = context;
    while (!atomic_load(&expiry->stopping)) {
        const struct wake wake = treat_all(expiry);
        if (!atomic_load(&expiry->stopping))
            wait_for(expiry, &wake);
    }
    return NULL;
}

struct expiry *expiry_start(struct host *host, struct error *err)
{
    struct expiry *expiry = calloc(1, sizeof(*expiry));
    if (!expiry) {
        error_errno(err, ENOMEM, NULL, "look for what expires");
        return NULL;
    }
    expiry->host = host;
    expiry->timer_fd = timerfd_create(CLOCK_REALTIME, TFD_CLOEXEC | TFD_NONBLOCK);
    expiry->event_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    int r = expiry->timer_fd < 0 || expiry->event_fd < 0
                ? errno
                : pthread_create(&expiry->thread, NULL, expiry_run, expiry);
    expiry->started = r == 0;
    if (r == 0)
        return expiry;
    error_errno(err, r, NULL, "look for what expires");
    expiry_stop(expiry);
    return NULL;
}

void expiry_poke(struct expiry *expiry)
{
    const uint64_t one = 1;
    if (write(expiry->event_fd, &one, sizeof(one)) < 0 && errno != EAGAIN)
        log_warning("tell of what expires: %s", strerror(errno));
}

void expiry_stop(struct expiry *expiry)
{
    if (!expiry)
        return;
    atomic_store(&expiry->stopping, true);
    if (expiry->started) {
        expiry_poke(expiry);
        pthread_join(expiry->thread, NULL);
    }
    late_sweep(expiry, true);
    if (expiry->timer_fd >= 0)
        close(expiry->timer_fd);
    if (expiry->event_fd >= 0)
        close(expiry->event_fd);
    free(expiry);
}
