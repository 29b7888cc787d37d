/* SPDX-License-Identifier: Apache-2.0 */
#ifndef TINE_PAGER_CHUNK_CACHE_PRIVATE_H
#define TINE_PAGER_CHUNK_CACHE_PRIVATE_H

#include <pthread.h>
#include <sys/queue.h>

#include "pager/cache_policy.h"
#include "pager/chunk_cache.h"

#define DECODERS_MAX 8u

/* Which content it is. */
struct chunk_name {
    uint64_t device, inode, modified_ns, id, chunk;
};

enum chunk_state { CHUNK_QUEUED, CHUNK_DECODING, CHUNK_READY, CHUNK_BROKEN };

struct chunk {
    struct policy_entry policy; /* in it while it is ready */
    struct chunk *next;         /* of its bucket */
    TAILQ_ENTRY(chunk) queue;   /* while it is queued or broken */
    struct chunk_name name;
    enum chunk_state state;
    bool urgent; /* somebody waits for it, or did before it was ready; else it was only wanted */
    bool fresh;  /* nobody has taken it yet */
    unsigned pins;
    uint64_t since_ns;        /* ready or broken */
    uint8_t *bytes;           /* while it is decoded and ready */
    struct packed_file *file; /* until it is decoded */
    struct error *failure;    /* broken: why */
};

TAILQ_HEAD(chunk_queue, chunk);

struct chunk_cache {
    pthread_mutex_t lock; /* guards all below but what is set once */
    pthread_cond_t work;  /* something is queued, or room was made for what is */
    struct chunk_cache_config config;
    const struct cache_policy_ops *ops;
    struct chunk_queue urgent, wanted; /* to be decoded, */
    uint32_t queued;                   /* so many */
    struct chunk_queue broken;         /* oldest first */
    uint32_t broken_count;
    struct chunk **buckets;
    uint64_t bucket_mask;
    struct cache_policy *policy;
    struct chunk *last; /* taken; who takes it once more does not use it again */
    bool starved;       /* a decoder found no room */
    bool stopping;
    uint64_t taken_ns; /* the last time */
    struct chunk_counts counts;

    uint8_t *room;         /* all slots, a chunk each */
    uint32_t slots;        /* so many */
    struct chunk **owners; /* of the slots */
    uint32_t *free_slots;  /* a stack */
    uint32_t free_count;

    struct packed_decoder *decoders[DECODERS_MAX];
    pthread_t threads[DECODERS_MAX];
    unsigned thread_count;
};

/* ---- chunk_cache.c, with the lock held ---- */

/* Takes the chunk out and frees it; its slot, if it has one, is free. */
void chunk_forget(struct chunk_cache *cache, struct chunk *chunk);
/* The chunk has no slot any more. */
void chunk_give_up_room(struct chunk_cache *cache, struct chunk *chunk);
/* It could not be decoded; the error is copied. */
void chunk_break(struct chunk_cache *cache, struct chunk *chunk, const struct error *err);
/* A free slot, if need be of a chunk that gives way; NULL while all are in use. */
uint8_t *chunk_room(struct chunk_cache *cache);

/* ---- chunk_decode.c ---- */

int chunk_decoders_start(struct chunk_cache *cache, struct error *err);
void chunk_decoders_stop(struct chunk_cache *cache);

#endif
