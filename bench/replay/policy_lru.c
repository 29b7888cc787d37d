/* SPDX-License-Identifier: Apache-2.0 */
/* Least recently used. */
#include <stdlib.h>

#include "pager/cache_policy.h"

static struct policy_queue *of(struct cache_policy *policy)
{
    return (struct policy_queue *)(void *)policy;
}

static struct cache_policy *lru_create(uint32_t capacity)
{
    struct policy_queue *queue = calloc(1, sizeof(*queue));
    if (queue)
        policy_queue_init(queue);
    return (struct cache_policy *)(void *)queue;
}

static void lru_destroy(struct cache_policy *policy)
{
    free(policy);
}

static void lru_insert(struct cache_policy *policy, struct policy_entry *entry)
{
    policy_queue_push(of(policy), entry);
}

static void lru_remove(struct cache_policy *policy, struct policy_entry *entry)
{
    policy_queue_take(of(policy), entry);
}

static void lru_used(struct cache_policy *policy, struct policy_entry *entry)
{
    policy_queue_take(of(policy), entry);
    policy_queue_push(of(policy), entry);
}

static struct policy_entry *lru_evict(struct cache_policy *policy, policy_may_go *may_go,
                                      void *context)
{
    struct policy_queue *queue = of(policy);
    for (struct policy_entry *entry = queue->head.previous; entry != &queue->head;
         entry = entry->previous) {
        if (!may_go(entry, context))
            continue;
        policy_queue_take(queue, entry);
        return entry;
    }
    return NULL;
}

const struct cache_policy_ops policy_lru = {
    .name = "lru",
    .create = lru_create,
    .destroy = lru_destroy,
    .insert = lru_insert,
    .used = lru_used,
    .evict = lru_evict,
    .remove = lru_remove,
};
