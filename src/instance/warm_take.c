/* SPDX-License-Identifier: Apache-2.0 */
/* What others have of the pools: a fork that is ready, and what is to be told of them. */
#include <string.h>

#include "base/clock.h"
#include "base/log.h"
#include "instance/telemetry.h"
#include "instance/warm_pool.h"

/* One that has ended is left to the thread. */
static struct parked *take_first(struct pool *pool)
{
    for (struct parked **link = &pool->parked; *link; link = &(*link)->next) {
        struct parked *parked = *link;
        if (!vm_process_alive(&parked->process))
            continue;
        *link = parked->next;
        parked->next = NULL;
        pool->status.ready--;
        return parked;
    }
    return NULL;
}

static bool has_image_of(const struct pool *pool, const struct owner *from)
{
    struct error err = {0};
    int found = image_mark_compare(&pool->mark, from->fd, GUEST_SNAPSHOT "/" SNAPSHOT_STATE, &err);
    if (found < 0)
        log_warning("%s %s: %s", from->thing, from->id, err.message);
    return found == IMAGE_SAME;
}

static struct parked *take(const struct warm *warm, struct pool *pool, const struct owner *from)
{
    const struct telemetry *telemetry = warm->host->telemetry;
    struct parked *parked = has_image_of(pool, from) ? take_first(pool) : NULL;
    if (parked || pool->idle)
        pool_changes(pool);
    pool->used_ns = time_monotonic_ns();
    pool->idle = false;
    if (parked) {
        pool->status.taken++;
        if (pool->short_ns == 0)
            pool->short_ns = pool->used_ns;
        pool_scout(warm, pool, parked->record.id);
    } else {
        pool->status.missed++;
    }
    metric_add(parked ? telemetry->warm_taken : telemetry->warm_missed, 1, NULL);
    return parked;
}

struct parked *warm_take(struct warm *warm, const struct owner *from)
{
    pthread_mutex_lock(&warm->mutex);
    struct pool *pool = pool_find(warm, from->id);
    bool wanted = pool && pool->status.wanted > 0;
    struct parked *parked = wanted ? take(warm, pool, from) : NULL;
    pthread_mutex_unlock(&warm->mutex);
    if (wanted)
        warm_wake(warm);
    return parked;
}

void warm_look(struct warm *warm, const char *id, struct warm_status *status)
{
    *status = (struct warm_status){.wanted = 0};
    if (!warm)
        return;
    pthread_mutex_lock(&warm->mutex);
    const struct pool *pool = pool_find(warm, id);
    if (pool && pool->status.wanted > 0) {
        *status = pool->status;
        status->pinned_bytes = pool_bytes(pool);
        for (const struct parked *parked = pool->parked; parked; parked = parked->next)
            status->prepared += parked->mapped;
    }
    pthread_mutex_unlock(&warm->mutex);
}

struct warm_sums warm_sum(struct warm *warm)
{
    struct warm_sums sums = {.wanted = 0};
    pthread_mutex_lock(&warm->mutex);
    for (const struct pool *pool = warm->pools; pool; pool = pool->next) {
        sums.wanted += pool->status.wanted;
        sums.ready += pool->status.ready;
        sums.pinned_bytes += pool_bytes(pool);
    }
    pthread_mutex_unlock(&warm->mutex);
    return sums;
}
