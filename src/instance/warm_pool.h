/* SPDX-License-Identifier: Apache-2.0 */
/* Inside of what is kept warm: a pool, and what it takes to make and end what is in it. */
#ifndef TINE_INSTANCE_WARM_POOL_H
#define TINE_INSTANCE_WARM_POOL_H

#include <pthread.h>
#include <stdbool.h>

#include "instance/warm_pools.h"

#define WARM_NEVER UINT64_MAX

/* Times are time_monotonic_ns(). */
struct pool {
    struct pool *next;
    struct warm_source source;
    struct image_mark mark; /* what the rest is made of */
    struct hot *hot;        /* the thread's own; NULL: none */
    struct parked *parked;  /* oldest first: the next to be taken */
    bool look;              /* the source may have changed */
    bool sleeps;            /* it does, as far as is known */
    bool idle;
    uint64_t used_ns;      /* when a fork was last asked for */
    uint64_t short_ns;     /* since when one that was taken is missing; 0: none is */
    uint64_t hot_bytes;    /* of the template, now or when there was one */
    uint64_t parked_bytes; /* of the largest so far */
    /* What forks of the image need: of the first that was taken it is looked at. */
    char scout[INSTANCE_ID_LENGTH + 1]; /* empty: nobody */
    uint64_t scout_ns;                  /* when */
    struct vm_touched needed;
    bool learned;
    unsigned failures;            /* in short succession, */
    uint64_t failed_ns, again_ns; /* the last of them, and when to go on */
    struct warm_status status;
};

struct warm {
    struct host *host;
    struct warm_options options;
    pthread_t thread;
    bool started;
    int event_fd; /* wakes the thread */
    /* Guards all below, and every pool; never held while something is made or ended. Pools are
     * removed by the thread alone. */
    pthread_mutex_t mutex;
    pthread_cond_t ended; /* a pool is gone */
    struct pool *pools;
    uint64_t next_ns; /* nothing is made before that */
    bool stopping, quiet, busy;
};

void warm_wake(const struct warm *warm);
struct pool *pool_find(struct warm *warm, const char *id);
/* There is something to do for it: what is told of its state is not so any more. */
void pool_changes(struct pool *pool);
/* That fork, taken now, may tell what others will need. */
void pool_scout(const struct warm *warm, struct pool *pool, const char *id);
/* Memory that would be free without it. */
uint64_t pool_bytes(const struct pool *pool);

/* What follows is the thread's, with the mutex held, but not all the time. */
/* One step. Returns when to come again at the latest. */
uint64_t pool_tend(struct warm *warm, struct pool *pool);
/* Ends what it has. */
void pool_clear(struct warm *warm, struct pool *pool);
/* Looks at the scout when its time has come. Returns when that is; WARM_NEVER: there is none. */
uint64_t pool_learn(struct warm *warm, struct pool *pool, uint64_t now);
/* It is about another image. */
void pool_forget(struct pool *pool);

#endif
