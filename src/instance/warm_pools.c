/* SPDX-License-Identifier: Apache-2.0 */
#include "instance/warm_pools.h"

#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>

#include "base/clock.h"
#include "base/log.h"
#include "instance/warm.h"
#include "instance/warm_pool.h"

#define PER_SECOND   50
#define RETRY_MAX_MS 300000
#define LEARN_MS     2000

/* ---- the list ---- */

struct pool *pool_find(struct warm *warm, const char *id)
{
    struct pool *pool = warm->pools;
    while (pool && strcmp(pool->source.id, id) != 0)
        pool = pool->next;
    return pool;
}

void pool_changes(struct pool *pool)
{
    snprintf(pool->status.state, sizeof(pool->status.state), WARM_WARMING);
}

uint64_t pool_bytes(const struct pool *pool)
{
    uint64_t sum = pool->hot ? pool->hot_bytes : 0;
    for (const struct parked *parked = pool->parked; parked; parked = parked->next)
        sum += parked->private_bytes;
    return sum;
}

static struct pool *pool_add(struct warm *warm, const struct warm_source *source)
{
    struct pool **link = &warm->pools;
    while (*link)
        link = &(*link)->next;
    struct pool *pool = calloc(1, sizeof(*pool));
    if (!pool)
        return NULL;
    pool->source = *source;
    pool->mark = (struct image_mark)IMAGE_MARK_NONE;
    pool_changes(pool);
    *link = pool;
    return pool;
}

static void pool_free(struct pool *pool)
{
    pool_forget(pool);
    free(pool);
}

/* ---- the thread ---- */

void warm_wake(const struct warm *warm)
{
    const uint64_t one = 1;
    if (write(warm->event_fd, &one, sizeof(one)) < 0 && errno != EAGAIN)
        log_warning("tell of what is kept warm: %s", strerror(errno));
}

/* Returns when to look again. A pool that is not wanted is removed. */
static uint64_t tend_all(struct warm *warm)
{
    uint64_t wake_ns = WARM_NEVER;
    for (struct pool **link = &warm->pools; *link && !warm->stopping;) {
        struct pool *pool = *link;
        uint64_t again_ns = pool->status.wanted > 0 ? pool_tend(warm, pool) : WARM_NEVER;
        if (again_ns < wake_ns)
            wake_ns = again_ns;
        if (pool->status.wanted > 0) {
            link = &pool->next;
            continue;
        }
        pool_clear(warm, pool);
        if (pool->status.wanted > 0)
            continue; /* meanwhile it is wanted again */
        *link = pool->next;
        pool_free(pool);
        pthread_cond_broadcast(&warm->ended);
    }
    return wake_ns;
}

/* Everybody whose end is to be noticed. */
static size_t list_processes(const struct warm *warm, struct pollfd **fds)
{
    size_t count = 1, room = 1;
    for (const struct pool *pool = warm->pools; pool; pool = pool->next)
        room += 1 + pool->status.ready;
    *fds = calloc(room, sizeof(**fds));
    if (!*fds)
        return 0;
    (*fds)[0] = (struct pollfd){.fd = warm->event_fd, .events = POLLIN};
    for (const struct pool *pool = warm->pools; pool; pool = pool->next) {
        if (pool->hot)
            (*fds)[count++] =
                (struct pollfd){.fd = pool->hot->live.process.pidfd, .events = POLLIN};
        for (const struct parked *parked = pool->parked; parked; parked = parked->next)
            (*fds)[count++] = (struct pollfd){.fd = parked->process.pidfd, .events = POLLIN};
    }
    return count;
}

/* With the mutex held, but not while it waits. */
static void wait_for(struct warm *warm, uint64_t wake_ns)
{
    struct pollfd *fds = NULL;
    uint64_t ignored;
    size_t count = list_processes(warm, &fds);
    pthread_mutex_unlock(&warm->mutex);
    if (count > 0)
        poll(fds, count, wake_ns == WARM_NEVER ? -1 : time_left_ms(wake_ns));
    else
        time_sleep_ms(100); /* there is no memory: for a moment nobody's end is noticed */
    if (read(warm->event_fd, &ignored, sizeof(ignored)) < 0 && errno != EAGAIN)
        log_warning("wait for what is kept warm: %s", strerror(errno));
    free(fds);
    pthread_mutex_lock(&warm->mutex);
}

static void *warm_run(void *context)
{
    struct warm *warm = context;
    pthread_mutex_lock(&warm->mutex);
    while (!warm->stopping) {
        const uint64_t wake_ns = tend_all(warm);
        if (!warm->stopping)
            wait_for(warm, wake_ns);
    }
    for (struct pool *pool = warm->pools; pool; pool = pool->next)
        pool_clear(warm, pool);
    pthread_mutex_unlock(&warm->mutex);
    return NULL;
}

/* ---- its life ---- */

static int want_all(struct warm *warm, struct error *err)
{
    _cleanup_(free) struct store_warm *wishes = NULL;
    size_t count = 0;
    int r = store_warm_list(warm->host->store, &wishes, &count, err);
    for (size_t i = 0; r == 0 && i < count; i++) {
        struct warm_source source = {.snapshot = wishes[i].snapshot};
        snprintf(source.id, sizeof(source.id), "%s", wishes[i].owner_id);
        struct pool *pool = pool_add(warm, &source);
        if (!pool)
            return error_errno(err, ENOMEM, NULL, "keep %s warm", source.id);
        pool->status.wanted = wishes[i].ready;
        pool->look = true;
        pool->used_ns = time_monotonic_ns();
    }
    return r;
}

static int begin(struct warm *warm, struct error *err)
{
    warm->event_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    if (warm->event_fd < 0)
        return error_errno(err, errno, NULL, "keep what is wished for warm");
    int r = want_all(warm, err);
    if (r < 0)
        return r;
    r = pthread_create(&warm->thread, NULL, warm_run, warm);
    warm->started = r == 0;
    return r == 0 ? 0 : error_errno(err, r, NULL, "keep what is wished for warm");
}

struct warm *warm_start(struct host *host, const struct warm_options *options, struct error *err)
{
    struct warm *warm = calloc(1, sizeof(*warm));
    if (!warm) {
        error_errno(err, ENOMEM, NULL, "keep what is wished for warm");
        return NULL;
    }
    warm->host = host;
    warm->options = *options;
    if (warm->options.per_second == 0)
        warm->options.per_second = PER_SECOND;
    if (warm->options.retry_max_ms == 0)
        warm->options.retry_max_ms = RETRY_MAX_MS;
    if (warm->options.learn_ms == 0)
        warm->options.learn_ms = LEARN_MS;
    pthread_mutex_init(&warm->mutex, NULL);
    pthread_cond_init(&warm->ended, NULL);
    if (begin(warm, err) == 0)
        return warm;
    warm_stop(warm);
    return NULL;
}

bool warm_quiesce(struct warm *warm)
{
    pthread_mutex_lock(&warm->mutex);
    warm->quiet = true;
    bool busy = warm->busy;
    pthread_mutex_unlock(&warm->mutex);
    return busy;
}

void warm_stop(struct warm *warm)
{
    if (!warm)
        return;
    pthread_mutex_lock(&warm->mutex);
    warm->stopping = true;
    pthread_mutex_unlock(&warm->mutex);
    if (warm->started) {
        warm_wake(warm);
        pthread_join(warm->thread, NULL);
    }
    while (warm->pools) {
        struct pool *pool = warm->pools;
        warm->pools = pool->next;
        pool_free(pool);
    }
    if (warm->event_fd >= 0)
        close(warm->event_fd);
    pthread_cond_destroy(&warm->ended);
    pthread_mutex_destroy(&warm->mutex);
    free(warm);
}

/* ---- wishes ---- */

static int want(struct warm *warm, const struct warm_source *source, unsigned ready,
                struct error *err)
{
    struct store_warm wish = {.snapshot = source->snapshot, .ready = ready};
    struct pool *pool = pool_find(warm, source->id);
    snprintf(wish.owner_id, sizeof(wish.owner_id), "%s", source->id);
    if (!pool && ready == 0)
        return 0;
    int r = store_warm_set(warm->host->store, &wish, err);
    if (r < 0)
        return r;
    if (!pool)
        pool = pool_add(warm, source);
    if (!pool)
        return error_errno(err, ENOMEM, source->id, "keep %s warm", source->id);
    pool->status.wanted = ready;
    pool_changes(pool);
    pool->look = true;
    pool->idle = false;
    pool->failures = 0;
    pool->again_ns = 0;
    pool->used_ns = time_monotonic_ns();
    return 0;
}

int warm_want(struct warm *warm, const struct warm_source *source, unsigned ready,
              struct error *err)
{
    pthread_mutex_lock(&warm->mutex);
    int r = want(warm, source, ready, err);
    pthread_mutex_unlock(&warm->mutex);
    warm_wake(warm);
    return r;
}

void warm_wait_end(struct warm *warm, const char *id)
{
    const struct pool *pool;
    pthread_mutex_lock(&warm->mutex);
    while ((pool = pool_find(warm, id)) && pool->status.wanted == 0)
        pthread_cond_wait(&warm->ended, &warm->mutex);
    pthread_mutex_unlock(&warm->mutex);
}

void warm_poke(struct warm *warm, const char *id)
{
    if (!warm)
        return;
    pthread_mutex_lock(&warm->mutex);
    struct pool *pool = pool_find(warm, id);
    if (pool) {
        pool->look = true;
        pool_changes(pool);
    }
    pthread_mutex_unlock(&warm->mutex);
    if (pool)
        warm_wake(warm);
}
