/* SPDX-License-Identifier: Apache-2.0 */
/* The first fork that is taken of an image shows what a fork needs to wake, and to do the first
 * thing that it is asked for: after a moment of its own it is looked at. Those made from then on
 * have that mapped before they are taken, and replace those that have not. */
#include <errno.h>
#include <stdio.h>

#include "base/clock.h"
#include "base/log.h"
#include "instance/warm_pool.h"
#include "instance/working_set.h"

#define MS       1000000ull
#define AGAIN_NS (500 * MS) /* it is not awake yet */

void pool_scout(const struct warm *warm, struct pool *pool, const char *id)
{
    if (pool->learned || pool->scout[0])
        return;
    snprintf(pool->scout, sizeof(pool->scout), "%s", id);
    pool->scout_ns = time_after_ms(warm->options.learn_ms);
}

void pool_forget(struct pool *pool)
{
    vm_touched_free(&pool->needed);
    pool->learned = false;
    pool->scout[0] = '\0';
}

/* Whoever changes the image meanwhile pokes, and that is looked at before anything is made. */
static int look_at_scout(struct warm *warm, const struct pool *pool, struct vm_touched *needed,
                         struct error *err)
{
    char id[INSTANCE_ID_LENGTH + 1];
    snprintf(id, sizeof(id), "%s", pool->scout);
    pthread_mutex_unlock(&warm->mutex);
    int r = working_set_learn(warm->host, id, needed, err);
    pthread_mutex_lock(&warm->mutex);
    return r;
}

uint64_t pool_learn(struct warm *warm, struct pool *pool, uint64_t now)
{
    struct error err = {0};
    struct vm_touched needed;
    if (!pool->scout[0])
        return WARM_NEVER;
    if (pool->scout_ns > now)
        return pool->scout_ns;
    int r = look_at_scout(warm, pool, &needed, &err);
    if (r == -EBUSY)
        return pool->scout_ns = now + AGAIN_NS;
    pool_forget(pool);
    if (r < 0) {
        log_debug("a fork of %s does not tell what it needed: %s", pool->source.id, err.message);
        return WARM_NEVER;
    }
    pool->needed = needed;
    pool->learned = true;
    return now;
}
