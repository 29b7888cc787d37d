/* SPDX-License-Identifier: Apache-2.0 */
/* /health, /stats and /drain */
#include <errno.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "pager/api_private.h"

static int answer_with(struct api_call *call, json_t *result, struct error *err)
{
    call->result = result;
    return result ? 0 : error_errno(err, ENOMEM, NULL, "build the answer");
}

int get_health(struct api_call *call, struct error *err)
{
    const struct session_block_versions versions = pager_state_versions(call->pager);
    return answer_with(call,
                       json_pack("{s:s, s:s, s:i, s:{s:i, s:i}}", "status",
                                 pager_draining(call->pager) ? "draining" : "ok", "version",
                                 pager_version(call->pager), "pid", (int)getpid(), "state_versions",
                                 "oldest", (int)versions.oldest, "newest", (int)versions.newest),
                       err);
}

int post_drain(struct api_call *call, struct error *err)
{
    pager_drain(call->pager);
    return 0;
}

/* A number of 64 bits in a struct. */
struct counter {
    const char *name;
    size_t offset;
};

/* clang-format off */ /* its versions differ on braces in macros */
#define COUNTER(name) {#name, offsetof(struct session_counters, name)}
#define OF_CACHE(name) {#name, offsetof(struct chunk_counts, name)}
/* clang-format on */

static const struct counter counters[] = {
    COUNTER(faults),          COUNTER(copied_pages),     COUNTER(zero_pages),
    COUNTER(removed_pages),   COUNTER(prefetched_pages), COUNTER(completed_pages),
    COUNTER(already_present), COUNTER(retried),          COUNTER(takeovers),
};

static const struct counter cache_counters[] = {
    OF_CACHE(limit_bytes), OF_CACHE(bytes),     OF_CACHE(hits),     OF_CACHE(misses),
    OF_CACHE(ahead),       OF_CACHE(evictions), OF_CACHE(failures),
};

static json_t *counters_json(const struct counter *named, size_t count, const void *values)
{
    json_t *object = json_object();
    for (size_t i = 0; i < count; i++) {
        uint64_t value = *(const uint64_t *)(const void *)((const char *)values + named[i].offset);
        /* It takes the value also when it fails, and fails for an object that is NULL. */
        (void)json_object_set_new(object, named[i].name, json_integer((json_int_t)value));
    }
    return object;
}

static json_t *peer_json(const struct session *session)
{
    if (session->peer_pid == 0)
        return json_null();
    return json_pack("{s:i, s:I}", "pid", (int)session->peer_pid, "uid",
                     (json_int_t)session->peer_uid);
}

static uint64_t region_pages(const struct session *session)
{
    const struct region_table *table = session_block_regions(&session->block);
    uint64_t pages = 0;
    for (uint32_t i = 0; i < table->count; i++)
        pages += table->regions[i].size >> PAGE_SHIFT;
    return pages;
}

json_t *session_json(struct session *session)
{
    const struct session_block *block = &session->block;
    return json_pack("{s:s, s:s, s:s*, s:s, s:s, s:i, s:o, s:I, s:I, s:I, s:i, s:b, s:b, s:b, s:o}",
                     "id", session->id, "state", session_state_name(session->state), "reason",
                     session->reason[0] ? session->reason : NULL, "image", session->label,
                     "cache_key", block->header->cache_key, "state_version",
                     (int)block->header->version, "peer", peer_json(session), "pages",
                     (json_int_t)region_pages(session), "present",
                     (json_int_t)bitmap_count(&block->present), "removed",
                     (json_int_t)bitmap_count(&block->removed), "run_length",
                     (int)run_length_now(&session->runs), "prefetching", session->prefetch.active,
                     "recording", session->recording, "recorded", session->recorded, "counters",
                     counters_json(counters, ARRAY_SIZE(counters), &block->header->counters));
}

static void append_session(struct session *session, void *data)
{
    (void)json_array_append_new(data, session_json(session)); /* as in counters_json() */
}

int get_stats(struct api_call *call, struct error *err)
{
    json_t *sessions = json_array();
    struct chunk_counts cache;
    pager_cache_count(call->pager, &cache);
    if (sessions)
        pager_sessions_visit(call->pager, append_session, sessions);
    return answer_with(call,
                       json_pack("{s:s, s:i, s:b, s:i, s:o, s:o}", "version",
                                 pager_version(call->pager), "pid", (int)getpid(), "draining",
                                 pager_draining(call->pager), "threads",
                                 (int)pager_threads(call->pager), "cache",
                                 counters_json(cache_counters, ARRAY_SIZE(cache_counters), &cache),
                                 "sessions", sessions),
                       err);
}
