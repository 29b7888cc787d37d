/* SPDX-License-Identifier: Apache-2.0 */
/* CLOCK: in the order they came, but who was used since the hand passed gets another round. */
#include <stdlib.h>

#include "pager/cache_policy.h"

static struct policy_queue *of(struct cache_policy *policy)
{
    return (struct policy_queue *)(void *)policy;
}

static struct cache_policy *clock_create(uint32_t capacity)
{
    struct policy_queue *queue = calloc(1, sizeof(*queue));
    if (queue)
        policy_queue_init(queue);
    return (struct cache_policy *)(void *)queue;
}

static void clock_destroy(struct cache_policy *policy)
{
    free(policy);
}

static void clock_insert(struct cache_policy *policy, struct policy_entry *entry)
{
    entry->uses = 0;
    policy_queue_push(of(policy), entry);
}

static void clock_remove(struct cache_policy *policy, struct policy_entry *entry)
{
    policy_queue_take(of(policy), entry);
}

static void clock_used(struct cache_policy *policy, struct policy_entry *entry)
{
    entry->uses = 1;
}

static struct policy_entry *clock_evict(struct cache_policy *policy, policy_may_go *may_go,
                                        void *context)
{
    struct policy_queue *queue = of(policy);
    for (uint64_t turns = 2ull * queue->count; turns > 0; turns--) {
        struct policy_entry *entry = queue->head.previous;
        policy_queue_take(queue, entry);
        if (entry->uses == 0 && may_go(entry, context))
            return entry;
        entry->uses = 0;
        policy_queue_push(queue, entry);
    }
    return NULL;
}

const struct cache_policy_ops policy_clock = {
    .name = "clock",
    .create = clock_create,
    .destroy = clock_destroy,
    .insert = clock_insert,
    .used = clock_used,
    .evict = clock_evict,
    .remove = clock_remove,
};
