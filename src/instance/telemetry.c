/* SPDX-License-Identifier: Apache-2.0 */
#include "instance/telemetry.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/clock.h"
#include "instance/console.h"
#include "instance/operation_log.h"
#include "instance/vmm_samples.h"

#define EVENTS_HELD 2048 /* about a megabyte */

/* From a fork of a warm source to a guest that needs minutes to boot. */
static const double seconds[] = {0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25,
                                 0.5,   1,      2.5,   5,    10,    30,   60,  120};

#define COUNTER(name, help, ...)                           \
    {                                                      \
        name, help, METRIC_COUNTER, {__VA_ARGS__}, NULL, 0 \
    }
#define GAUGE(name, help, ...)                           \
    {                                                    \
        name, help, METRIC_GAUGE, {__VA_ARGS__}, NULL, 0 \
    }
#define TIMES(name, help, ...)                                                    \
    {                                                                             \
        name, help, METRIC_HISTOGRAM, {__VA_ARGS__}, seconds, ARRAY_SIZE(seconds) \
    }
#define FIELD(member) offsetof(struct telemetry, member)

static const struct {
    size_t field;
    struct metric_spec spec;
} families[] = {
    {FIELD(operations),
     COUNTER("tine_operations_total", "Operations that ended, by result.", "operation", "result")},
    {FIELD(durations),
     TIMES("tine_operation_duration_seconds",
           "Duration of the operations that succeeded, with the wait for their turn.",
           "operation")},
    {FIELD(phases),
     TIMES("tine_operation_phase_duration_seconds",
           "Duration of the phases of the operations that succeeded.", "operation", "phase")},
    {FIELD(instances), GAUGE("tine_instances", "Instances by state.", "state")},
    {FIELD(vmms_ended), COUNTER("tine_vmms_ended_total", "VMMs that ended by themselves.", NULL)},
    {FIELD(expired), COUNTER("tine_instances_expired_total",
                             "Instances that were deleted because their time was over.", NULL)},
    {FIELD(private_bytes),
     GAUGE("tine_memory_private_bytes",
           "Memory that single VMMs hold for themselves, all together.", NULL)},
    {FIELD(shared_bytes),
     GAUGE("tine_memory_shared_bytes",
           "Memory in VMMs that is the page cache's, counted in each VMM.", NULL)},
    {FIELD(sampled),
     GAUGE("tine_memory_sampled_vmms",
           "VMMs whose memory is in the sums; the rest follows in later scrapes.", NULL)},
    {FIELD(fallbacks),
     COUNTER("tine_memory_share_fallback_total",
             "Images that could not be shared by a link to the source, by errno.", "errno")},
    {FIELD(unshares),
     COUNTER("tine_memory_unshare_total",
             "Shared memory files that got a private copy before they were written, by its way.",
             "method")},
    {FIELD(unshare_bytes),
     COUNTER("tine_memory_unshare_bytes_total", "Bytes copied for that.", "method")},
    {FIELD(unshare_seconds),
     TIMES("tine_memory_unshare_duration_seconds", "Time taken by that.", "method")},
    {FIELD(memory_saves),
     COUNTER("tine_memory_saves_total",
             "Memory images that standbys, and snapshots of instances that run on, made: of all "
             "memory, merged into the retained base, or as a layer over it.",
             "kind")},
    {FIELD(compactions),
     COUNTER("tine_compactions_total",
             "Compactions of memory images that ended, by result: joined, flattened, unneeded "
             "(it was as it should be), cancelled, gone or error.",
             "result")},
    {FIELD(compressions),
     COUNTER("tine_compressions_total",
             "Compressions of memory images that ended, by result: compressed, cancelled, shared "
             "(it has other owners), gone or error.",
             "algorithm", "result")},
    {FIELD(raw_bytes), COUNTER("tine_compression_raw_bytes_total",
                               "Size of the images that were compressed.", "algorithm")},
    {FIELD(compressed_bytes),
     COUNTER("tine_compression_compressed_bytes_total", "Size of what they became.", "algorithm")},
    {FIELD(compression_seconds),
     TIMES("tine_compression_duration_seconds", "Duration of the compressions that succeeded.",
           "algorithm")},
    {FIELD(expansions),
     COUNTER("tine_expansions_total", "Compressed images that were needed raw again, by result.",
             "algorithm", "result")},
    {FIELD(expansion_seconds), TIMES("tine_expansion_duration_seconds",
                                     "Duration of the expansions that succeeded.", "algorithm")},
    {FIELD(pager_sessions),
     GAUGE("tine_pager_sessions", "VMs that a pager gives their memory to, by state.", "state")},
    {FIELD(pager_begun),
     COUNTER("tine_pager_sessions_total", "Sessions that were made for restores.", NULL)},
    {FIELD(pager_faults),
     COUNTER("tine_pager_faults_total", "Page faults that pagers answered.", NULL)},
    {FIELD(pager_takeovers),
     COUNTER("tine_pager_takeovers_total",
             "Sessions that another pager took over, or could not at that attempt.", "result")},
    {FIELD(pager_graduations),
     COUNTER("tine_pager_graduations_total",
             "Sessions that were completed while their VMs ran, or could not at that attempt.",
             "result")},
    {FIELD(pager_lost), COUNTER("tine_pager_sessions_lost_total",
                                "Sessions whose VMs were left waiting for their memory.", NULL)},
    {FIELD(pagers_started),
     COUNTER("tine_pagers_started_total", "Pagers that tined started.", NULL)},
    {FIELD(cache_limit),
     GAUGE("tine_pager_cache_limit_bytes",
           "How large the caches of decoded pages of all pagers may get.", NULL)},
    {FIELD(cache_bytes), GAUGE("tine_pager_cache_bytes", "How much of that is in use.", NULL)},
    {FIELD(cache_hits), COUNTER("tine_pager_cache_hits_total",
                                "Chunks of compressed images that were there decoded.", NULL)},
    {FIELD(cache_misses),
     COUNTER("tine_pager_cache_misses_total",
             "Chunks of compressed images that a fault had to wait for.", NULL)},
    {FIELD(cache_ahead), COUNTER("tine_pager_cache_ahead_total",
                                 "Chunks that were decoded before anybody waited.", NULL)},
    {FIELD(cache_evictions),
     COUNTER("tine_pager_cache_evictions_total", "Chunks that gave way to others.", NULL)},
    {FIELD(cache_failures),
     COUNTER("tine_pager_cache_failures_total", "Chunks that could not be decoded.", NULL)},
};

static int add_families(struct telemetry *telemetry)
{
    bool whole = true;
    for (size_t i = 0; i < ARRAY_SIZE(families); i++) {
        struct metric *metric = metrics_add(telemetry->metrics, &families[i].spec);
        *(struct metric **)(void *)((char *)telemetry + families[i].field) = metric;
        whole = whole && metric;
    }
    return whole ? 0 : -ENOMEM;
}

/* What does not change while tined runs. */
static int add_constants(struct telemetry *telemetry)
{
    static const struct metric_spec build =
        GAUGE("tine_build_info", "Always 1; the version is in the label.", "version");
    static const struct metric_spec start =
        GAUGE("process_start_time_seconds", "When tined started, in seconds since 1970.", NULL);
    struct metric *info = metrics_add(telemetry->metrics, &build);
    struct metric *started = metrics_add(telemetry->metrics, &start);
    if (!info || !started)
        return -ENOMEM;
    metric_set(info, 1, (const char *const[]){TINE_VERSION});
    metric_set(started, (double)time_realtime_ns() / 1e9, NULL);
    metric_add(telemetry->vmms_ended, 0, NULL);
    metric_add(telemetry->expired, 0, NULL);
    return 0;
}

struct telemetry *telemetry_new(struct error *err)
{
    struct telemetry *telemetry = calloc(1, sizeof(*telemetry));
    if (telemetry) {
        telemetry->metrics = metrics_new();
        telemetry->events = events_new(EVENTS_HELD, NULL);
        telemetry->samples = vmm_samples_new();
        pthread_mutex_init(&telemetry->log_lock, NULL);
    }
    if (telemetry && telemetry->metrics && telemetry->events && telemetry->samples &&
        add_families(telemetry) == 0 && add_constants(telemetry) == 0)
        return telemetry;
    telemetry_free(telemetry);
    error_errno(err, ENOMEM, NULL, "prepare metrics and events");
    return NULL;
}

void telemetry_free(struct telemetry *telemetry)
{
    if (!telemetry)
        return;
    vmm_samples_free(telemetry->samples);
    events_free(telemetry->events);
    metrics_free(telemetry->metrics);
    pthread_mutex_destroy(&telemetry->log_lock);
    free(telemetry);
}

void telemetry_event(const struct operation *op, const char *kind, const char *operation_id,
                     const char *result, const char *message)
{
    const struct instance_record *record = &op->record;
    struct event event = {.sequence = 0};
    snprintf(event.instance_id, sizeof(event.instance_id), "%s", record->id);
    snprintf(event.instance_name, sizeof(event.instance_name), "%s", record->name);
    snprintf(event.kind, sizeof(event.kind), "%s", kind);
    snprintf(event.state, sizeof(event.state), "%s",
             op->removed ? "" : instance_state_name(record->state));
    snprintf(event.operation_id, sizeof(event.operation_id), "%s", operation_id);
    snprintf(event.result, sizeof(event.result), "%s", result);
    snprintf(event.message, sizeof(event.message), "%s", message);
    events_add(op->host->telemetry->events, &event);
}

void telemetry_settled(const struct operation *op, bool had_vmm)
{
    const struct instance_record *record = &op->record;
    bool ended = had_vmm && !record_has_vmm(record) && record->state != INSTANCE_UNKNOWN;
    if (ended)
        metric_add(op->host->telemetry->vmms_ended, 1, NULL);
    const char *kind = ended ? "vmm-ended" : "recovered";
    const char *message = record->state == INSTANCE_UNKNOWN ? record->state_error
                          : ended                           ? record->exit_message
                                                            : "";
    telemetry_event(op, kind, "", "", message);
    operation_log_add(op, "%s: %s%s%.*s", kind, instance_state_name(record->state),
                      *message ? ", " : "", console_loggable(message), message);
}

struct events *host_events(struct host *host)
{
    return host->telemetry->events;
}
