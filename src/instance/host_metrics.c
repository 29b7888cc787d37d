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

char *host_metrics(struct host *host, size_t *length, struct error *err)
{
    _cleanup_(free) struct instance_record *records = NULL;
    size_t count = 0;
    if (instance_list(host, &records, &count, err) < 0)
        return NULL;
    set_states(host->telemetry, records, count);
    set_memory(host->telemetry, records, count);
    set_stack(host->telemetry);
    char *text = metrics_text(host->telemetry->metrics, length);
    if (!text)
        error_errno(err, ENOMEM, NULL, "write the metrics");
    return text;
}
