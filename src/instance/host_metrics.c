/* SPDX-License-Identifier: Apache-2.0 */
/* What is not counted as it happens is looked up when somebody asks for it. */
#include <errno.h>
#include <stdlib.h>

#include "instance/host.h"
#include "instance/telemetry.h"
#include "instance/vmm_samples.h"
#include "stack/stack.h"

#define MEASURE_NS 100000000u /* of a scrape, for a walk over page tables */

static void set_states(const struct telemetry *telemetry, const struct instance_record *records,
                       size_t count)
{
    unsigned states[INSTANCE_UNKNOWN + 1] = {0};
    for (size_t i = 0; i < count; i++)
        states[records[i].state]++;
    for (size_t i = 0; i < ARRAY_SIZE(states); i++)
        metric_set(telemetry->instances, states[i],
                   (const char *const[]){instance_state_name((enum instance_state)i)});
}

static void set_memory(const struct telemetry *telemetry, const struct instance_record *records,
                       size_t count)
{
    struct vmm_sums sums = vmm_samples_take(telemetry->samples, records, count, MEASURE_NS);
    metric_set(telemetry->private_bytes, (double)sums.private_bytes, NULL);
    metric_set(telemetry->shared_bytes, (double)sums.shared_bytes, NULL);
    metric_set(telemetry->sampled, (double)sums.vmms, NULL);
}

static void set_stack(const struct telemetry *telemetry)
{
    static const int errnums[] = {EXDEV, EMLINK, EPERM, EOPNOTSUPP}; /* those that a copy cures */
    for (size_t i = 0; i < ARRAY_SIZE(errnums); i++)
        metric_set(telemetry->fallbacks, (double)stack_fallback_count(errnums[i]),
                   (const char *const[]){errno_name(errnums[i])});
}

static void set_caches(const struct telemetry *telemetry, const struct paging_cache *cache)
{
    metric_set(telemetry->cache_limit, (double)cache->limit_bytes, NULL);
    metric_set(telemetry->cache_bytes, (double)cache->bytes, NULL);
    metric_set(telemetry->cache_hits, (double)cache->hits, NULL);
    metric_set(telemetry->cache_misses, (double)cache->misses, NULL);
    metric_set(telemetry->cache_ahead, (double)cache->ahead, NULL);
    metric_set(telemetry->cache_evictions, (double)cache->evictions, NULL);
    metric_set(telemetry->cache_failures, (double)cache->failures, NULL);
}

static void set_pagers(const struct host *host)
{
    const struct telemetry *telemetry = host->telemetry;
    struct paging_counts counts = {.sessions = 0};
    if (host->paging)
        paging_count(host->paging, &counts);
    for (size_t i = PAGING_WAITING; i < ARRAY_SIZE(counts.now); i++)
        metric_set(telemetry->pager_sessions, counts.now[i],
                   (const char *const[]){paging_state_name((enum paging_state)i)});
    static const char *const ok[] = {"ok"}, *const failed[] = {"error"};
    metric_set(telemetry->pager_begun, (double)counts.sessions, NULL);
    metric_set(telemetry->pager_faults, (double)counts.faults, NULL);
    metric_set(telemetry->pager_takeovers, (double)counts.takeovers, ok);
    metric_set(telemetry->pager_takeovers, (double)counts.takeover_failures, failed);
    metric_set(telemetry->pager_graduations, (double)counts.graduations, ok);
    metric_set(telemetry->pager_graduations, (double)counts.graduation_failures, failed);
    metric_set(telemetry->pager_lost, (double)counts.lost, NULL);
    metric_set(telemetry->pagers_started, (double)counts.pagers_started, NULL);
    set_caches(telemetry, &counts.cache);
}

char *host_metrics(struct host *host, size_t *length, struct error *err)
{
    _cleanup_(free) struct instance_record *records = NULL;
    size_t count = 0;
    if (instance_list(host, &records, &count, err) < 0)
        return NULL;
    set_states(host->telemetry, records, count);
    set_memory(host->telemetry, records, count);
    set_stack(host->telemetry);
    set_pagers(host);
    char *text = metrics_text(host->telemetry->metrics, length);
    if (!text)
        error_errno(err, ENOMEM, NULL, "write the metrics");
    return text;
}
