/* SPDX-License-Identifier: Apache-2.0 */
/* Inside the room: how the registry holds its series. */
#ifndef TINE_METRICS_PRIVATE_H
#define TINE_METRICS_PRIVATE_H

#include <pthread.h>
#include <stdint.h>

#include "metrics/metrics.h"

struct series {
    char *values[METRIC_LABELS_MAX];
    double value;     /* of a histogram: the sum of what was observed */
    uint64_t *counts; /* of a histogram: per bucket, the infinite one last; not cumulative */
};

struct metric {
    struct metric *next;
    struct metrics *metrics;
    struct metric_spec spec;
    size_t label_count;
    struct series *series;
    size_t series_count, series_capacity;
};

struct metrics {
    pthread_mutex_t mutex; /* guards the families and all their series */
    struct metric *first, **last;
};

#endif
