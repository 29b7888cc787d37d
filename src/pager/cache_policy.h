/* SPDX-License-Identifier: Apache-2.0 */
/* What a bounded cache gives up first. A policy only orders entries: it neither locks nor frees.
 * tine-pager has CLOCK; bench/replay has the others, docs/performance.md what was measured. */
#ifndef TINE_PAGER_CACHE_POLICY_H
#define TINE_PAGER_CACHE_POLICY_H

#include <stdbool.h>
#include <stdint.h>

/* What an entry of a cache has of it. */
struct policy_entry {
    struct policy_entry *previous, *next;
    uint64_t name;       /* of the content: a policy may know it again after it has gone */
    uint8_t uses, queue; /* the policy's own */
};

/* May the entry go just now? */
typedef bool policy_may_go(const struct policy_entry *entry, void *context);

struct cache_policy;
struct cache_policy_ops {
    const char *name;
    /* For a cache that never has more than `capacity` entries. NULL: no memory. */
    struct cache_policy *(*create)(uint32_t capacity);
    void (*destroy)(struct cache_policy *policy);
    void (*insert)(struct cache_policy *policy, struct policy_entry *entry);
    /* The entry is used again. */
    void (*used)(struct cache_policy *policy, struct policy_entry *entry);
    /* Takes one out that may go; NULL if none may. */
    struct policy_entry *(*evict)(struct cache_policy *policy, policy_may_go *may_go,
                                  void *context);
    /* Takes this one out, which is not worth being remembered. */
    void (*remove)(struct cache_policy *policy, struct policy_entry *entry);
};

extern const struct cache_policy_ops policy_clock, policy_lru, policy_s3_fifo;

/* A ring of entries; the oldest is `head.previous`. */
struct policy_queue {
    struct policy_entry head;
    uint32_t count;
};

static inline void policy_queue_init(struct policy_queue *queue)
{
    queue->head.previous = queue->head.next = &queue->head;
    queue->count = 0;
}

static inline void policy_queue_push(struct policy_queue *queue, struct policy_entry *entry)
{
    entry->previous = &queue->head;
    entry->next = queue->head.next;
    entry->next->previous = entry->previous->next = entry;
    queue->count++;
}

static inline void policy_queue_take(struct policy_queue *queue, struct policy_entry *entry)
{
    entry->next->previous = entry->previous;
    entry->previous->next = entry->next;
    queue->count--;
}

#endif
