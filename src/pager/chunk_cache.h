/* SPDX-License-Identifier: Apache-2.0 */
/* Decoded chunks of compressed images: one cache of bounded size for the whole process, whoever's
 * sessions they serve. Chunks are told apart by the file they are of (device, inode, time of
 * modification, checksum of its index), so siblings that have links of one file share them, and
 * they outlive the sessions.
 *
 * Threads of its own read and decode, each chunk once however many ask for it; who asks is never
 * made to wait, but told to come again when something has arrived. Raw images have no part in
 * this: the kernel's page cache is theirs. Safe from any thread. */
#ifndef TINE_PAGER_CHUNK_CACHE_H
#define TINE_PAGER_CHUNK_CACHE_H

#include "pager/packed_file.h"

#define CHUNK_CACHE_LEAST (16ull << 20) /* bytes: what a few sessions have in use at once */

struct chunk_cache;

struct chunk_cache_config {
    uint64_t bytes;   /* at most, of decoded chunks; CHUNK_CACHE_LEAST at least */
    unsigned threads; /* that decode */
    /* A chunk is there, or can't be had. From any of its threads, without a lock held. */
    void (*arrived)(void *context);
    void *context;
};

struct chunk_cache *chunk_cache_create(const struct chunk_cache_config *config, struct error *err);
/* Nobody uses it any more. NULL is nothing. */
void chunk_cache_destroy(struct chunk_cache *cache);

enum chunk_outcome {
    CHUNK_HERE,
    CHUNK_LATER,  /* it is being decoded */
    CHUNK_FAILED, /* it can't be: `err` says why. Asked again after a second, it is tried again */
};

/* With CHUNK_HERE its bytes stay where they are until they are given back. */
enum chunk_outcome chunk_cache_take(struct chunk_cache *cache, struct packed_file *file,
                                    uint64_t chunk, const uint8_t **bytes, struct error *err);
/* By any address in them; others' are ignored. */
void chunk_cache_give_back(struct chunk_cache *cache, const void *address);
/* It is going to be needed: decoded when nothing more urgent is left. */
void chunk_cache_want(struct chunk_cache *cache, struct packed_file *file, uint64_t chunk);
/* True if taking it would be CHUNK_HERE now. */
bool chunk_cache_has(struct chunk_cache *cache, const struct packed_file *file, uint64_t chunk);

/* Gives back all memory if no chunk was asked for lately. Call it now and then. */
void chunk_cache_tick(struct chunk_cache *cache, uint64_t now_ns);

struct chunk_counts {
    uint64_t limit_bytes, bytes; /* now */
    uint64_t hits;               /* takes that found it there */
    uint64_t misses;             /* takes that had it decoded */
    uint64_t ahead;              /* decoded before they were taken */
    uint64_t evictions, failures;
};
void chunk_cache_count(struct chunk_cache *cache, struct chunk_counts *counts);

#endif
