/* SPDX-License-Identifier: Apache-2.0 */
/* What the thread does for one pool, step by step. */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "base/clock.h"
#include "base/log.h"
#include "instance/compressor.h"
#include "instance/telemetry.h"
#include "instance/warm.h"
#include "instance/warm_pool.h"

#define MS       1000000ull
#define RETRY_NS (100 * MS)
#define WELL_NS  (60000 * MS) /* without a failure: the next is the first again */
#define ROOM_NS  (5000 * MS)  /* until it is looked for room again */
/* For so long what was taken has the processor for itself, if more are ready: it wakes, and has the
 * first thing to do. Counted from the first that is missing, so that nobody keeps it from being
 * made anew by taking more. */
#define CALM_NS (300 * MS)

static uint64_t rest(struct pool *pool, const char *state, uint64_t until_ns)
{
    snprintf(pool->status.state, sizeof(pool->status.state), "%s", state);
    if (strcmp(state, WARM_READY) == 0 || strcmp(state, WARM_IDLE) == 0)
        pool->status.reason[0] = '\0';
    return until_ns;
}

static void fail(const struct warm *warm, struct pool *pool, const char *what)
{
    const uint64_t now = time_monotonic_ns(), longest = warm->options.retry_max_ms * MS;
    const bool calm = pool->failures == 0 || now - pool->failed_ns > WELL_NS;
    const unsigned doublings = calm ? 0 : pool->failures < 16 ? pool->failures : 16;
    const uint64_t pause = RETRY_NS << doublings;
    pool->failures = calm ? 1 : pool->failures + 1;
    pool->failed_ns = now;
    rest(pool, WARM_FAILING, now);
    pool->again_ns = now + (pause < longest ? pause : longest);
    snprintf(pool->status.reason, sizeof(pool->status.reason), "%.255s", what);
    log_warning("%s %s is to be kept warm: %s", pool->source.snapshot ? "snapshot" : "instance",
                pool->source.id, what);
}

static void refilled(const struct warm *warm, struct pool *pool, bool ok)
{
    pool->status.refills += ok;
    metric_add(warm->host->telemetry->warm_refills, 1, (const char *const[]){ok ? "ok" : "error"});
}

/* ---- ending ---- */

static void end_list(struct parked *list)
{
    while (list) {
        struct parked *next = list->next;
        parked_end(list);
        list = next;
    }
}

/* With the mutex held, but not while it works. */
static void end_these(struct warm *warm, struct hot *hot, struct parked *list)
{
    if (!hot && !list)
        return;
    pthread_mutex_unlock(&warm->mutex);
    end_list(list);
    hot_end(hot);
    compressor_poke(warm->host->compressor);
    pthread_mutex_lock(&warm->mutex);
}

void pool_clear(struct warm *warm, struct pool *pool)
{
    struct hot *hot = TAKE_PTR(pool->hot);
    struct parked *list = TAKE_PTR(pool->parked);
    pool->status.ready = 0;
    rest(pool, WARM_WARMING, 0);
    image_mark_drop(&pool->mark);
    end_these(warm, hot, list);
}

/* Takes off those that have ended, or all behind the first `keep`. */
static struct parked *take_off(struct pool *pool, unsigned keep, bool ended)
{
    struct parked *off = NULL;
    unsigned place = 0;
    for (struct parked **link = &pool->parked; *link;) {
        struct parked *parked = *link;
        if (ended ? vm_process_alive(&parked->process) : place < keep) {
            link = &parked->next;
            place++;
            continue;
        }
        *link = parked->next;
        parked->next = off;
        off = parked;
        pool->status.ready--;
    }
    return off;
}

static void reap(struct warm *warm, struct pool *pool)
{
    struct parked *dead = take_off(pool, 0, true);
    struct hot *hot = NULL;
    for (const struct parked *parked = dead; parked; parked = parked->next) {
        pool->status.lost++;
        metric_add(warm->host->telemetry->warm_lost, 1, NULL);
    }
    if (pool->hot && !vm_process_alive(&pool->hot->live.process))
        hot = TAKE_PTR(pool->hot);
    if (hot || dead)
        fail(warm, pool,
             hot ? "the template ended by itself" : "a fork that was ready ended by itself");
    end_these(warm, hot, dead);
}

/* ---- its source ---- */

static bool source_is_gone(const struct warm *warm, const struct warm_source *source)
{
    _cleanup_(free) struct snapshot_record *snapshot = calloc(1, sizeof(*snapshot));
    _cleanup_(free) struct instance_record *record = calloc(1, sizeof(*record));
    if (!snapshot || !record)
        return false;
    int r = source->snapshot ? store_snapshot_get(warm->host->store, source->id, snapshot, NULL)
                             : store_get(warm->host->store, source->id, record, NULL);
    return r == -ENOENT;
}

/* Not held: whoever changes it pokes afterwards. */
static void look(struct warm *warm, struct pool *pool)
{
    char path[INSTANCE_ID_LENGTH + sizeof("/" GUEST_SNAPSHOT "/" SNAPSHOT_STATE)];
    const struct host *host = warm->host;
    struct error err = {0};
    snprintf(path, sizeof(path), "%s/" GUEST_SNAPSHOT "/" SNAPSHOT_STATE, pool->source.id);
    pool->look = false;
    int found = image_mark_compare(
        &pool->mark, pool->source.snapshot ? host->snapshots_fd : host->guests_fd, path, &err);
    pool->sleeps = found != IMAGE_NONE;
    if (found < 0)
        fail(warm, pool, err.message);
    if (found == IMAGE_NONE && source_is_gone(warm, &pool->source))
        pool->status.wanted = 0;
    if (found != IMAGE_SAME) {
        pool_forget(pool);
        pool_clear(warm, pool);
    }
}

/* ---- making ---- */

/* Page tables are no part of what smaps_rollup tells, and more than the rest of a VM that waits. */
static uint64_t private_bytes(const struct vm_process *process)
{
    static const struct {
        const char *file, *format;
    } parts[] = {{"smaps_rollup", "Private_Dirty: %" SCNu64 " kB"},
                 {"status", "VmPTE: %" SCNu64 " kB"}};
    uint64_t sum = 0, kib;
    for (size_t i = 0; i < ARRAY_SIZE(parts); i++) {
        char path[48], line[256];
        snprintf(path, sizeof(path), "/proc/%d/%s", process->pid, parts[i].file);
        _cleanup_(fclose) FILE *file = fopen(path, "re");
        while (file && fgets(line, sizeof(line), file)) {
            if (sscanf(line, parts[i].format, &kib) == 1)
                sum += kib << 10;
        }
    }
    return sum;
}

static uint64_t all_bytes(const struct warm *warm)
{
    uint64_t sum = 0;
    for (const struct pool *pool = warm->pools; pool; pool = pool->next)
        sum += pool_bytes(pool);
    return sum;
}

/* As much as the last one of its kind had: of what was never made that is nothing, and one that
 * turns out to be too much is ended again. */
static bool has_room(const struct warm *warm, const struct pool *pool)
{
    const uint64_t next = pool->hot ? pool->parked_bytes : pool->hot_bytes;
    return warm->options.memory_bytes == 0 || all_bytes(warm) + next <= warm->options.memory_bytes;
}

static bool is_too_much(const struct warm *warm)
{
    return warm->options.memory_bytes > 0 && all_bytes(warm) > warm->options.memory_bytes;
}

/* What is left of the image before has nothing to do with this one. */
static void change_image(struct warm *warm, struct pool *pool, struct image_mark *mark)
{
    if (pool->mark.device != mark->device || pool->mark.inode != mark->inode) {
        pool_forget(pool);
        pool_clear(warm, pool);
    }
    image_mark_drop(&pool->mark);
    pool->mark = *mark;
    *mark = (struct image_mark)IMAGE_MARK_NONE;
}

static void make_hot(struct warm *warm, struct pool *pool)
{
    const struct warm_source source = pool->source;
    struct image_mark mark = IMAGE_MARK_NONE;
    struct error err = {0};
    pthread_mutex_unlock(&warm->mutex);
    struct hot *hot = hot_make(warm->host, &source, &mark, &err);
    const uint64_t bytes = hot ? private_bytes(&hot->live.process) : 0;
    pthread_mutex_lock(&warm->mutex);
    if (hot) {
        change_image(warm, pool, &mark);
        pool->hot = hot;
        pool->hot_bytes = bytes;
        pool->look = true; /* it was let go of when it was linked */
    } else if (err.code == ERROR_STATE || err.code == ERROR_NOT_FOUND) {
        pool->look = true;
        pool->again_ns = time_monotonic_ns() + RETRY_NS;
    } else {
        fail(warm, pool, err.message);
    }
    image_mark_drop(&mark);
    if (hot && is_too_much(warm))
        pool_clear(warm, pool);
}

static void append(struct pool *pool, struct parked *parked)
{
    struct parked **link = &pool->parked;
    while (*link)
        link = &(*link)->next;
    *link = parked;
    pool->status.ready++;
}

/* The first that is from before it was known what a fork needs. */
static struct parked **find_outdated(struct pool *pool)
{
    struct parked **link = &pool->parked;
    while (*link && (*link)->mapped)
        link = &(*link)->next;
    return link;
}

static struct parked *take_off_outdated(struct pool *pool)
{
    struct parked **link = find_outdated(pool), *parked = *link;
    if (!parked)
        return NULL;
    *link = parked->next;
    parked->next = NULL;
    pool->status.ready--;
    return parked;
}

static void make_parked(struct warm *warm, struct pool *pool)
{
    struct hot *hot = pool->hot;
    struct error err = {0};
    pthread_mutex_unlock(&warm->mutex);
    struct parked *parked = hot_park(hot, pool->learned ? &pool->needed : NULL, &err);
    if (parked)
        parked->private_bytes = private_bytes(&parked->process);
    pthread_mutex_lock(&warm->mutex);
    refilled(warm, pool, parked != NULL);
    if (!parked) {
        fail(warm, pool, err.message);
        return;
    }
    if (parked->private_bytes > pool->parked_bytes)
        pool->parked_bytes = parked->private_bytes;
    append(pool, parked);
    if (is_too_much(warm))
        end_these(warm, NULL, take_off(pool, pool->status.ready - 1, false));
    else if (pool->status.ready > pool->status.wanted)
        end_these(warm, NULL, take_off_outdated(pool));
}

static uint64_t grow(struct warm *warm, struct pool *pool)
{
    warm->busy = true;
    if (!pool->hot) {
        make_hot(warm, pool);
    } else {
        make_parked(warm, pool);
        warm->next_ns = time_monotonic_ns() + 1000 * MS / warm->options.per_second;
    }
    warm->busy = false;
    return rest(pool, WARM_WARMING, time_monotonic_ns());
}

/* ---- what there is to do ---- */

static bool is_unused(const struct warm *warm, const struct pool *pool, uint64_t now)
{
    return warm->options.idle_ms > 0 && now - pool->used_ns >= warm->options.idle_ms * MS;
}

static uint64_t until_unused(const struct warm *warm, const struct pool *pool)
{
    return warm->options.idle_ms > 0 ? pool->used_ns + warm->options.idle_ms * MS : WARM_NEVER;
}

static uint64_t no_room(struct pool *pool, uint64_t now)
{
    snprintf(pool->status.reason, sizeof(pool->status.reason),
             "what is kept warm has as much memory as it may (warm-memory)");
    return rest(pool, WARM_LIMITED, now + ROOM_NS);
}

/* All that are wanted are there. Those that are outdated are replaced one by one, each by one that
 * is made before. */
static uint64_t renew(struct warm *warm, struct pool *pool, uint64_t now, uint64_t unused_ns)
{
    if (!pool->learned || !*find_outdated(pool) || pool->again_ns > now || warm->quiet ||
        !has_room(warm, pool))
        return rest(pool, WARM_READY, unused_ns);
    if (warm->next_ns > now)
        return rest(pool, WARM_READY, warm->next_ns < unused_ns ? warm->next_ns : unused_ns);
    return grow(warm, pool);
}

static uint64_t refill_ns(const struct warm *warm, const struct pool *pool)
{
    const uint64_t calm_ns =
        pool->status.ready > 0 && pool->short_ns ? pool->short_ns + CALM_NS : 0;
    return calm_ns > warm->next_ns ? calm_ns : warm->next_ns;
}

static uint64_t fill(struct warm *warm, struct pool *pool, uint64_t now)
{
    const uint64_t unused_ns = until_unused(warm, pool), next_ns = refill_ns(warm, pool);
    uint64_t again_ns = 0;
    const char *state = WARM_WARMING;
    if (pool->hot && pool->status.ready == pool->status.wanted) {
        pool->short_ns = 0;
        return renew(warm, pool, now, unused_ns);
    }
    if (pool->again_ns > now) {
        again_ns = pool->again_ns;
        state = WARM_FAILING;
    } else if (warm->quiet) {
        again_ns = WARM_NEVER;
    } else if (pool->hot && next_ns > now) {
        again_ns = next_ns;
    } else {
        return has_room(warm, pool) ? grow(warm, pool) : no_room(pool, now);
    }
    return rest(pool, state, again_ns < unused_ns ? again_ns : unused_ns);
}

uint64_t pool_tend(struct warm *warm, struct pool *pool)
{
    reap(warm, pool);
    if (pool->look)
        look(warm, pool);
    const uint64_t now = time_monotonic_ns();
    if (!pool->sleeps)
        return rest(pool, WARM_AWAKE, pool->again_ns > now ? pool->again_ns : WARM_NEVER);
    if (!pool->idle && is_unused(warm, pool, now)) {
        pool->idle = true;
        pool_clear(warm, pool);
    }
    if (pool->idle)
        return rest(pool, WARM_IDLE, WARM_NEVER);
    if (pool->status.ready > pool->status.wanted) {
        rest(pool, WARM_WARMING, now);
        end_these(warm, NULL, take_off(pool, pool->status.wanted, false));
    }
    const uint64_t learn_ns = pool_learn(warm, pool, now), fill_ns = fill(warm, pool, now);
    return learn_ns < fill_ns ? learn_ns : fill_ns;
}
