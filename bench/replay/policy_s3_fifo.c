/* SPDX-License-Identifier: Apache-2.0 */
/* S3-FIFO (Yang et al., SOSP 2023): what is new goes into a small queue, and on into the main one
 * only if it is used meanwhile; the names of what was given up there are remembered for as long as
 * the main queue is, and who comes back so goes into it at once. */
#include <stdlib.h>

#include "pager/cache_policy.h"

#define USES_MAX    3u
#define SMALL_SHARE 10u /* a tenth of the capacity */

enum { SMALL, MAIN };

/* Names that are remembered: a ring in the order they came, and a hash table over it. */
struct ghosts {
    uint64_t *names;
    uint32_t *table; /* place in the ring + 1, at most one for each bucket; 0: none */
    uint32_t capacity, buckets, next;
};

struct s3_fifo {
    struct policy_queue small, main;
    uint32_t small_capacity;
    struct ghosts ghosts;
};

static struct s3_fifo *of(struct cache_policy *policy)
{
    return (struct s3_fifo *)(void *)policy;
}

static uint32_t *ghost_bucket(struct ghosts *ghosts, uint64_t name)
{
    return &ghosts->table[(name * 0x9e3779b97f4a7c15ull >> 32) % ghosts->buckets];
}

/* Of two names in one bucket the older is forgotten. */
static void ghost_add(struct ghosts *ghosts, uint64_t name)
{
    uint32_t *old = ghost_bucket(ghosts, ghosts->names[ghosts->next]);
    if (*old == ghosts->next + 1)
        *old = 0;
    ghosts->names[ghosts->next] = name;
    *ghost_bucket(ghosts, name) = ghosts->next + 1;
    ghosts->next = (ghosts->next + 1) % ghosts->capacity;
}

static bool ghost_take(struct ghosts *ghosts, uint64_t name)
{
    uint32_t *bucket = ghost_bucket(ghosts, name);
    if (*bucket == 0 || ghosts->names[*bucket - 1] != name)
        return false;
    *bucket = 0;
    return true;
}

static void s3_destroy(struct cache_policy *policy)
{
    struct s3_fifo *s3 = of(policy);
    if (!s3)
        return;
    free(s3->ghosts.names);
    free(s3->ghosts.table);
    free(s3);
}

static struct cache_policy *s3_create(uint32_t capacity)
{
    struct s3_fifo *s3 = calloc(1, sizeof(*s3));
    if (!s3)
        return NULL;
    policy_queue_init(&s3->small);
    policy_queue_init(&s3->main);
    s3->small_capacity = capacity / SMALL_SHARE ? capacity / SMALL_SHARE : 1;
    s3->ghosts.capacity = capacity > s3->small_capacity ? capacity - s3->small_capacity : 1;
    s3->ghosts.buckets = 4 * s3->ghosts.capacity;
    s3->ghosts.names = calloc(s3->ghosts.capacity, sizeof(*s3->ghosts.names));
    s3->ghosts.table = calloc(s3->ghosts.buckets, sizeof(*s3->ghosts.table));
    if (s3->ghosts.names && s3->ghosts.table)
        return (struct cache_policy *)(void *)s3;
    s3_destroy((struct cache_policy *)(void *)s3);
    return NULL;
}

static void enter(struct s3_fifo *s3, struct policy_entry *entry, uint8_t queue)
{
    entry->queue = queue;
    policy_queue_push(queue == SMALL ? &s3->small : &s3->main, entry);
}

static void leave(struct s3_fifo *s3, struct policy_entry *entry)
{
    policy_queue_take(entry->queue == SMALL ? &s3->small : &s3->main, entry);
}

static void s3_insert(struct cache_policy *policy, struct policy_entry *entry)
{
    struct s3_fifo *s3 = of(policy);
    entry->uses = 0;
    enter(s3, entry, ghost_take(&s3->ghosts, entry->name) ? MAIN : SMALL);
}

static void s3_used(struct cache_policy *policy, struct policy_entry *entry)
{
    if (entry->uses < USES_MAX)
        entry->uses++;
}

/* The oldest of the small queue: goes, or moves on. */
static struct policy_entry *try_small(struct s3_fifo *s3, policy_may_go *may_go, void *context)
{
    struct policy_entry *entry = s3->small.head.previous;
    leave(s3, entry);
    if (entry->uses > 1) {
        entry->uses = 0;
        enter(s3, entry, MAIN);
        return NULL;
    }
    if (!may_go(entry, context)) {
        enter(s3, entry, SMALL);
        return NULL;
    }
    ghost_add(&s3->ghosts, entry->name);
    return entry;
}

/* The oldest of the main queue: goes, or gets another turn. */
static struct policy_entry *try_main(struct s3_fifo *s3, policy_may_go *may_go, void *context)
{
    struct policy_entry *entry = s3->main.head.previous;
    leave(s3, entry);
    if (entry->uses == 0 && may_go(entry, context))
        return entry;
    if (entry->uses > 0)
        entry->uses--;
    enter(s3, entry, MAIN);
    return NULL;
}

static struct policy_entry *s3_evict(struct cache_policy *policy, policy_may_go *may_go,
                                     void *context)
{
    struct s3_fifo *s3 = of(policy);
    struct policy_entry *entry = NULL;
    for (uint32_t i = s3->small.count; !entry && i > 0 && s3->small.count >= s3->small_capacity;
         i--)
        entry = try_small(s3, may_go, context);
    /* In so many turns everyone there has had the last of its uses and is asked about. */
    for (uint64_t i = (USES_MAX + 1ull) * s3->main.count; !entry && i > 0; i--)
        entry = try_main(s3, may_go, context);
    for (uint32_t i = s3->small.count; !entry && i > 0; i--)
        entry = try_small(s3, may_go, context);
    return entry;
}

static void s3_remove(struct cache_policy *policy, struct policy_entry *entry)
{
    leave(of(policy), entry);
}

const struct cache_policy_ops policy_s3_fifo = {
    .name = "s3-fifo",
    .create = s3_create,
    .destroy = s3_destroy,
    .insert = s3_insert,
    .used = s3_used,
    .evict = s3_evict,
    .remove = s3_remove,
};
