/* SPDX-License-Identifier: Apache-2.0 */
#include "instance/vmm_samples.h"

#include <inttypes.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/cleanup.h"
#include "base/clock.h"
#include "base/proc_stat.h"

#define FRESH_NS 1000000000u

struct sample {
    pid_t pid;
    uint64_t start_ticks;
    uint64_t taken_ns; /* monotonic; 0: never */
    uint64_t private_bytes, shared_bytes;
};

struct vmm_samples {
    pthread_mutex_t
        mutex;           /* guards the list, also while it is measured: one caller does the work */
    struct sample *list; /* ordered by process */
    size_t count;
};

struct vmm_samples *vmm_samples_new(void)
{
    struct vmm_samples *samples = calloc(1, sizeof(*samples));
    if (samples)
        pthread_mutex_init(&samples->mutex, NULL);
    return samples;
}

void vmm_samples_free(struct vmm_samples *samples)
{
    if (!samples)
        return;
    pthread_mutex_destroy(&samples->mutex);
    free(samples->list);
    free(samples);
}

static int by_process(const void *a, const void *b)
{
    const struct sample *x = a, *y = b;
    if (x->pid != y->pid)
        return x->pid < y->pid ? -1 : 1;
    return x->start_ticks < y->start_ticks ? -1 : x->start_ticks > y->start_ticks;
}

static int by_age(const void *a, const void *b)
{
    const struct sample *x = *(struct sample *const *)a, *y = *(struct sample *const *)b;
    return x->taken_ns < y->taken_ns ? -1 : x->taken_ns > y->taken_ns;
}

/* The list becomes that of the rows' VMMs; what is known of them is kept. */
static void follow(struct vmm_samples *samples, const struct instance_record *records, size_t count)
{
    struct sample *list = calloc(count + 1, sizeof(*list));
    size_t used = 0;
    if (!list)
        return;
    for (size_t i = 0; i < count; i++) {
        struct sample sample = {.pid = records[i].vmm_pid,
                                .start_ticks = records[i].vmm_start_ticks};
        const struct sample *known =
            samples->count == 0
                ? NULL
                : bsearch(&sample, samples->list, samples->count, sizeof(sample), by_process);
        if (sample.pid > 0)
            list[used++] = known ? *known : sample;
    }
    qsort(list, used, sizeof(*list), by_process);
    free(samples->list);
    samples->list = list;
    samples->count = used;
}

/* From /proc/<pid>/smaps_rollup (proc(5)). One that has ended holds nothing. */
static void measure(struct sample *sample)
{
    char path[40], line[256];
    struct proc_stat process;
    uint64_t rss = 0, private_bytes = 0, kib;
    snprintf(path, sizeof(path), "/proc/%d/smaps_rollup", sample->pid);
    _cleanup_(fclose) FILE *file = fopen(path, "re");
    while (file && fgets(line, sizeof(line), file)) {
        if (sscanf(line, "Rss: %" SCNu64 " kB", &kib) == 1)
            rss = kib << 10;
        else if (sscanf(line, "Private_Dirty: %" SCNu64 " kB", &kib) == 1 ||
                 sscanf(line, "Private_Hugetlb: %" SCNu64 " kB", &kib) == 1)
            private_bytes += kib << 10;
    }
    bool same = file && proc_stat(sample->pid, &process, NULL) == 0 &&
                process.start_ticks == sample->start_ticks;
    sample->taken_ns = time_monotonic_ns();
    sample->private_bytes = same ? private_bytes : 0;
    sample->shared_bytes = same && rss > private_bytes ? rss - private_bytes : 0;
}

static void measure_oldest(struct vmm_samples *samples, uint64_t budget_ns)
{
    uint64_t begin = time_monotonic_ns();
    _cleanup_(free) struct sample **order = calloc(samples->count + 1, sizeof(struct sample *));
    if (!order)
        return;
    for (size_t i = 0; i < samples->count; i++)
        order[i] = &samples->list[i];
    qsort(order, samples->count, sizeof(struct sample *), by_age);
    for (size_t i = 0; i < samples->count; i++) {
        uint64_t now = time_monotonic_ns();
        bool fresh = order[i]->taken_ns != 0 && now - order[i]->taken_ns < FRESH_NS;
        if (fresh || (i > 0 && now - begin >= budget_ns))
            return;
        measure(order[i]);
    }
}

struct vmm_sums vmm_samples_take(struct vmm_samples *samples, const struct instance_record *records,
                                 size_t count, uint64_t budget_ns)
{
    struct vmm_sums sums = {.vmms = 0};
    pthread_mutex_lock(&samples->mutex);
    follow(samples, records, count);
    measure_oldest(samples, budget_ns);
    for (size_t i = 0; i < samples->count; i++) {
        sums.private_bytes += samples->list[i].private_bytes;
        sums.shared_bytes += samples->list[i].shared_bytes;
        sums.vmms += samples->list[i].taken_ns != 0;
    }
    pthread_mutex_unlock(&samples->mutex);
    return sums;
}
