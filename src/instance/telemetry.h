/* SPDX-License-Identifier: Apache-2.0 */
/* Inside the room: what an operator sees of a host, its metrics and its events. */
#ifndef TINE_INSTANCE_TELEMETRY_H
#define TINE_INSTANCE_TELEMETRY_H

#include <pthread.h>
#include <stdbool.h>

#include "base/error.h"
#include "events/events.h"
#include "metrics/metrics.h"

struct operation;
struct vmm_samples;

/* The families that are counted as things happen; the others are set when they are asked for. */
struct telemetry {
    struct metrics *metrics;
    struct events *events;
    struct vmm_samples *samples;
    struct metric *operations, *durations, *phases, *vmms_ended, *expired;
    struct metric *instances, *private_bytes, *shared_bytes, *sampled;
    struct metric *fallbacks, *unshares, *unshare_bytes, *unshare_seconds, *memory_saves;
    struct metric *compactions;
    struct metric *compressions, *raw_bytes, *compressed_bytes, *compression_seconds;
    struct metric *expansions, *expansion_seconds;
    struct metric *pager_sessions, *pager_begun, *pager_faults, *pager_takeovers,
        *pager_graduations, *pager_lost, *pagers_started;
    struct metric *cache_limit, *cache_bytes, *cache_hits, *cache_misses, *cache_ahead,
        *cache_evictions, *cache_failures;
    pthread_mutex_t log_lock; /* guards the exchange of a full operation log for a new one */
};

struct telemetry *telemetry_new(struct error *err);
void telemetry_free(struct telemetry *telemetry);

/* An event about the instance in its present state. `operation_id` and `result` may be "". */
void telemetry_event(const struct operation *op, const char *kind, const char *operation_id,
                     const char *result, const char *message);
/* The row was found to be wrong and put right, with no operation under way: a VMM ended by itself,
 * or a new tined looks at what the last one left. `had_vmm`: by the row as it was. */
void telemetry_settled(const struct operation *op, bool had_vmm);

#endif
