/* SPDX-License-Identifier: Apache-2.0 */
/* The threads that read and decode. */
#include <errno.h>
#include <signal.h>
#include <stdlib.h>

#include "base/cleanup.h"
#include "base/clock.h"
#include "pager/chunk_cache_private.h"

struct decoder_thread {
    struct chunk_cache *cache;
    struct packed_decoder *decoder;
};

static struct chunk *next_queued(struct chunk_cache *cache)
{
    struct chunk *chunk = TAILQ_FIRST(&cache->urgent);
    return chunk ? chunk : TAILQ_FIRST(&cache->wanted);
}

/* The next chunk with room for it; waits for both. NULL: there is to be none any more. */
static struct chunk *begin(struct chunk_cache *cache)
{
    while (!cache->stopping) {
        struct chunk *chunk = next_queued(cache);
        uint8_t *bytes = chunk ? chunk_room(cache) : NULL;
        if (bytes) {
            TAILQ_REMOVE(chunk->urgent ? &cache->urgent : &cache->wanted, chunk, queue);
            cache->queued--;
            cache->owners[(size_t)(bytes - cache->room) / PACKED_CHUNK_SIZE] = chunk;
            chunk->bytes = bytes;
            chunk->state = CHUNK_DECODING;
            return chunk;
        }
        cache->starved |= chunk != NULL;
        pthread_cond_wait(&cache->work, &cache->lock);
    }
    return NULL;
}

static void end(struct chunk_cache *cache, struct chunk *chunk, int r, const struct error *err)
{
    chunk->file = NULL;
    chunk->since_ns = time_monotonic_ns();
    if (r == 0) {
        chunk->state = CHUNK_READY;
        chunk->fresh = true;
        cache->counts.ahead += !chunk->urgent;
        cache->ops->insert(cache->policy, &chunk->policy);
        return;
    }
    cache->counts.failures++;
    chunk_give_up_room(cache, chunk);
    chunk_break(cache, chunk, err);
}

static void *run(void *argument)
{
    struct decoder_thread thread = *(struct decoder_thread *)argument;
    struct chunk_cache *cache = thread.cache;
    free(argument);
    pthread_mutex_lock(&cache->lock);
    struct chunk *chunk;
    while ((chunk = begin(cache))) {
        struct packed_file *file = chunk->file;
        struct error err = {0};
        pthread_mutex_unlock(&cache->lock);
        int r = packed_file_decode(file, thread.decoder, chunk->name.chunk, chunk->bytes, &err);
        packed_file_release(file);
        pthread_mutex_lock(&cache->lock);
        end(cache, chunk, r, &err);
        pthread_mutex_unlock(&cache->lock);
        cache->config.arrived(cache->config.context);
        pthread_mutex_lock(&cache->lock);
    }
    pthread_mutex_unlock(&cache->lock);
    return NULL;
}

static int start_one(struct chunk_cache *cache, unsigned number, struct error *err)
{
    struct decoder_thread *thread = malloc(sizeof(*thread));
    struct packed_decoder *decoder = cache->decoders[number] = packed_decoder_new();
    if (!thread || !decoder) {
        free(thread);
        return error_errno(err, ENOMEM, NULL, "start a thread that decodes");
    }
    *thread = (struct decoder_thread){cache, decoder};
    int r = pthread_create(&cache->threads[number], NULL, run, thread);
    if (r == 0)
        return 0;
    free(thread);
    return error_errno(err, r, NULL, "start a thread that decodes");
}

int chunk_decoders_start(struct chunk_cache *cache, struct error *err)
{
    sigset_t all, before;
    int r = 0;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    for (unsigned i = 0; r == 0 && i < cache->config.threads && i < DECODERS_MAX; i++) {
        r = start_one(cache, i, err);
        cache->thread_count += r == 0;
    }
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    return r;
}

void chunk_decoders_stop(struct chunk_cache *cache)
{
    pthread_mutex_lock(&cache->lock);
    cache->stopping = true;
    pthread_cond_broadcast(&cache->work);
    pthread_mutex_unlock(&cache->lock);
    for (unsigned i = 0; i < cache->thread_count; i++)
        pthread_join(cache->threads[i], NULL);
    for (unsigned i = 0; i < DECODERS_MAX; i++)
        packed_decoder_free(cache->decoders[i]);
}
