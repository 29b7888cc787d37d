/* SPDX-License-Identifier: Apache-2.0 */
#include "pager/chunk_cache.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#define XXH_INLINE_ALL
#include <xxhash.h>

#include "base/cleanup.h"
#include "base/clock.h"
#include "pager/chunk_cache_private.h"

/* What somebody wanted and nobody came for yet stays for so long, if anything else can go. */
#define FRESH_NS   1000000000u
#define BROKEN_NS  1000000000u
#define IDLE_NS    30000000000u
#define QUEUED_MAX 4096u /* more than that is not read ahead */
#define BROKEN_MAX 256u  /* of more the oldest are forgotten: who asks again finds out again */

/* ---- finding ---- */

static struct chunk_name name_of(const struct packed_file *file, uint64_t chunk)
{
    return (struct chunk_name){.device = file->file.st.st_dev,
                               .inode = file->file.st.st_ino,
                               .modified_ns = (uint64_t)image_file_modified_ns(&file->file),
                               .id = packed_image_id(file->image),
                               .chunk = chunk};
}

static struct chunk **bucket_of(struct chunk_cache *cache, const struct chunk_name *name)
{
    return &cache->buckets[XXH3_64bits(name, sizeof(*name)) & cache->bucket_mask];
}

static struct chunk *find(struct chunk_cache *cache, const struct chunk_name *name)
{
    struct chunk *chunk = *bucket_of(cache, name);
    while (chunk && memcmp(&chunk->name, name, sizeof(*name)) != 0)
        chunk = chunk->next;
    return chunk;
}

static void unlink_chunk(struct chunk_cache *cache, struct chunk *chunk)
{
    struct chunk **link = bucket_of(cache, &chunk->name);
    while (*link != chunk)
        link = &(*link)->next;
    *link = chunk->next;
    if (cache->last == chunk)
        cache->last = NULL;
}

void chunk_give_up_room(struct chunk_cache *cache, struct chunk *chunk)
{
    uint32_t slot = (uint32_t)((size_t)(chunk->bytes - cache->room) / PACKED_CHUNK_SIZE);
    cache->owners[slot] = NULL;
    cache->free_slots[cache->free_count++] = slot;
    chunk->bytes = NULL;
}

void chunk_forget(struct chunk_cache *cache, struct chunk *chunk)
{
    unlink_chunk(cache, chunk);
    if (chunk->state == CHUNK_BROKEN) {
        TAILQ_REMOVE(&cache->broken, chunk, queue);
        cache->broken_count--;
    }
    if (chunk->bytes)
        chunk_give_up_room(cache, chunk);
    packed_file_release(chunk->file);
    free(chunk->failure);
    free(chunk);
}

void chunk_break(struct chunk_cache *cache, struct chunk *chunk, const struct error *err)
{
    chunk->state = CHUNK_BROKEN;
    TAILQ_INSERT_TAIL(&cache->broken, chunk, queue);
    cache->broken_count++;
    chunk->failure = malloc(sizeof(*err));
    if (chunk->failure)
        *chunk->failure = *err;
    else
        chunk_forget(cache, chunk);
    if (cache->broken_count > BROKEN_MAX)
        chunk_forget(cache, TAILQ_FIRST(&cache->broken));
}

/* ---- room ---- */

static struct chunk *of_entry(const struct policy_entry *entry)
{
    return CONTAINER_OF((struct policy_entry *)entry, struct chunk, policy);
}

static bool is_free(const struct policy_entry *entry, void *context)
{
    return of_entry(entry)->pins == 0;
}

static bool is_past(const struct policy_entry *entry, void *context)
{
    const struct chunk *chunk = of_entry(entry);
    const uint64_t *now_ns = context;
    return chunk->pins == 0 && (!chunk->fresh || *now_ns - chunk->since_ns > FRESH_NS);
}

static bool evict(struct chunk_cache *cache, policy_may_go *may_go, void *context)
{
    struct policy_entry *entry = cache->ops->evict(cache->policy, may_go, context);
    if (entry)
        chunk_forget(cache, of_entry(entry));
    return entry != NULL;
}

uint8_t *chunk_room(struct chunk_cache *cache)
{
    uint64_t now_ns = time_monotonic_ns();
    if (cache->free_count == 0 && (evict(cache, is_past, &now_ns) || evict(cache, is_free, NULL)))
        cache->counts.evictions++;
    if (cache->free_count == 0)
        return NULL;
    return cache->room + (size_t)cache->free_slots[--cache->free_count] * PACKED_CHUNK_SIZE;
}

/* ---- asking ---- */

static struct chunk *enqueue(struct chunk_cache *cache, struct packed_file *file,
                             const struct chunk_name *name, bool urgent)
{
    struct chunk *chunk = calloc(1, sizeof(*chunk));
    if (!chunk)
        return NULL;
    struct chunk **bucket = bucket_of(cache, name);
    chunk->name = *name;
    chunk->policy.name = XXH3_64bits(name, sizeof(*name));
    chunk->file = packed_file_hold(file);
    chunk->urgent = urgent;
    chunk->next = *bucket;
    *bucket = chunk;
    TAILQ_INSERT_TAIL(urgent ? &cache->urgent : &cache->wanted, chunk, queue);
    cache->queued++;
    pthread_cond_signal(&cache->work);
    return chunk;
}

/* What is wanted is waited for now. */
static void hurry(struct chunk_cache *cache, struct chunk *chunk)
{
    cache->counts.misses++;
    if (chunk->state == CHUNK_QUEUED) {
        TAILQ_REMOVE(&cache->wanted, chunk, queue);
        TAILQ_INSERT_TAIL(&cache->urgent, chunk, queue);
    }
    chunk->urgent = true;
}

static const uint8_t *use(struct chunk_cache *cache, struct chunk *chunk)
{
    /* Who waited for it has missed it. */
    cache->counts.hits += !(chunk->fresh && chunk->urgent);
    if (!chunk->fresh && chunk != cache->last)
        cache->ops->used(cache->policy, &chunk->policy);
    chunk->fresh = false;
    chunk->pins++;
    cache->last = chunk;
    return chunk->bytes;
}

static struct chunk *find_or_enqueue(struct chunk_cache *cache, struct packed_file *file,
                                     uint64_t number)
{
    const struct chunk_name name = name_of(file, number);
    struct chunk *chunk = find(cache, &name);
    if (chunk && chunk->state == CHUNK_BROKEN && cache->taken_ns - chunk->since_ns > BROKEN_NS) {
        chunk_forget(cache, chunk);
        chunk = NULL;
    }
    if (chunk)
        return chunk;
    cache->counts.misses++;
    return enqueue(cache, file, &name, true);
}

static enum chunk_outcome take(struct chunk_cache *cache, struct packed_file *file, uint64_t number,
                               const uint8_t **bytes, struct error *err)
{
    cache->taken_ns = time_monotonic_ns();
    struct chunk *chunk = find_or_enqueue(cache, file, number);
    if (!chunk) {
        error_errno(err, ENOMEM, file->file.label, "decode %s", file->file.label);
        return CHUNK_FAILED;
    }
    if (chunk->state == CHUNK_READY) {
        *bytes = use(cache, chunk);
        return CHUNK_HERE;
    }
    if (chunk->state == CHUNK_BROKEN) {
        if (err)
            *err = *chunk->failure;
        return CHUNK_FAILED;
    }
    if (!chunk->urgent)
        hurry(cache, chunk);
    return CHUNK_LATER;
}

enum chunk_outcome chunk_cache_take(struct chunk_cache *cache, struct packed_file *file,
                                    uint64_t chunk, const uint8_t **bytes, struct error *err)
{
    pthread_mutex_lock(&cache->lock);
    enum chunk_outcome outcome = take(cache, file, chunk, bytes, err);
    pthread_mutex_unlock(&cache->lock);
    return outcome;
}

void chunk_cache_give_back(struct chunk_cache *cache, const void *address)
{
    uintptr_t offset = (uintptr_t)address - (uintptr_t)cache->room;
    if (offset >= (uintptr_t)cache->slots * PACKED_CHUNK_SIZE)
        return;
    pthread_mutex_lock(&cache->lock);
    struct chunk *chunk = cache->owners[offset / PACKED_CHUNK_SIZE];
    if (--chunk->pins == 0 && cache->starved) {
        cache->starved = false;
        pthread_cond_broadcast(&cache->work);
    }
    pthread_mutex_unlock(&cache->lock);
}

void chunk_cache_want(struct chunk_cache *cache, struct packed_file *file, uint64_t chunk)
{
    const struct chunk_name name = name_of(file, chunk);
    pthread_mutex_lock(&cache->lock);
    cache->taken_ns = time_monotonic_ns();
    /* Without memory for it who needs it asks for it. */
    if (cache->queued < QUEUED_MAX && !find(cache, &name))
        (void)enqueue(cache, file, &name, false);
    pthread_mutex_unlock(&cache->lock);
}

bool chunk_cache_has(struct chunk_cache *cache, const struct packed_file *file, uint64_t chunk)
{
    const struct chunk_name name = name_of(file, chunk);
    pthread_mutex_lock(&cache->lock);
    const struct chunk *found = find(cache, &name);
    bool has = found && found->state == CHUNK_READY;
    pthread_mutex_unlock(&cache->lock);
    return has;
}

void chunk_cache_count(struct chunk_cache *cache, struct chunk_counts *counts)
{
    pthread_mutex_lock(&cache->lock);
    *counts = cache->counts;
    counts->limit_bytes = (uint64_t)cache->slots * PACKED_CHUNK_SIZE;
    counts->bytes = (uint64_t)(cache->slots - cache->free_count) * PACKED_CHUNK_SIZE;
    pthread_mutex_unlock(&cache->lock);
}

/* ---- the whole of it ---- */

/* Slots are taken again at once where they are needed; here they are given back. */
void chunk_cache_tick(struct chunk_cache *cache, uint64_t now_ns)
{
    pthread_mutex_lock(&cache->lock);
    bool idle = now_ns > cache->taken_ns && now_ns - cache->taken_ns > IDLE_NS;
    while (idle && evict(cache, is_free, NULL)) {
        uint32_t slot = cache->free_slots[cache->free_count - 1];
        (void)madvise(cache->room + (size_t)slot * PACKED_CHUNK_SIZE, PACKED_CHUNK_SIZE,
                      MADV_DONTNEED);
    }
    pthread_mutex_unlock(&cache->lock);
}

static int make_room(struct chunk_cache *cache)
{
    cache->room = mmap(NULL, (size_t)cache->slots * PACKED_CHUNK_SIZE, PROT_READ | PROT_WRITE,
                       MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (cache->room == MAP_FAILED) {
        cache->room = NULL;
        return -ENOMEM;
    }
    uint64_t buckets = 2ull * QUEUED_MAX;
    while (buckets < 2ull * cache->slots)
        buckets *= 2;
    cache->bucket_mask = buckets - 1;
    cache->buckets = calloc(buckets, sizeof(struct chunk *));
    cache->owners = calloc(cache->slots, sizeof(struct chunk *));
    cache->free_slots = calloc(cache->slots, sizeof(*cache->free_slots));
    cache->policy = cache->ops->create(cache->slots);
    if (!cache->buckets || !cache->owners || !cache->free_slots || !cache->policy)
        return -ENOMEM;
    while (cache->free_count < cache->slots) {
        cache->free_slots[cache->free_count] = cache->slots - 1 - cache->free_count;
        cache->free_count++;
    }
    return 0;
}

struct chunk_cache *chunk_cache_create(const struct chunk_cache_config *config, struct error *err)
{
    struct chunk_cache *cache = calloc(1, sizeof(*cache));
    if (!cache) {
        error_errno(err, ENOMEM, NULL, "make the cache of decoded pages");
        return NULL;
    }
    pthread_mutex_init(&cache->lock, NULL);
    pthread_cond_init(&cache->work, NULL);
    TAILQ_INIT(&cache->urgent);
    TAILQ_INIT(&cache->wanted);
    TAILQ_INIT(&cache->broken);
    cache->config = *config;
    cache->ops = &policy_clock;
    cache->slots = (uint32_t)(config->bytes / PACKED_CHUNK_SIZE);
    int r = make_room(cache);
    if (r < 0)
        error_errno(err, -r, NULL, "make the cache of decoded pages");
    else
        r = chunk_decoders_start(cache, err);
    if (r == 0)
        return cache;
    chunk_cache_destroy(cache);
    return NULL;
}

void chunk_cache_destroy(struct chunk_cache *cache)
{
    if (!cache)
        return;
    chunk_decoders_stop(cache);
    for (uint64_t i = 0; cache->buckets && i <= cache->bucket_mask; i++) {
        while (cache->buckets[i])
            chunk_forget(cache, cache->buckets[i]);
    }
    if (cache->room)
        munmap(cache->room, (size_t)cache->slots * PACKED_CHUNK_SIZE);
    if (cache->policy)
        cache->ops->destroy(cache->policy);
    free(cache->buckets);
    free(cache->owners);
    free(cache->free_slots);
    pthread_cond_destroy(&cache->work);
    pthread_mutex_destroy(&cache->lock);
    free(cache);
}
