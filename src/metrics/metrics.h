/* SPDX-License-Identifier: Apache-2.0 */
/* A registry of metrics and its text form: the Prometheus exposition format, version 0.0.4. Knows
 * nothing of what is measured. All functions are safe from any thread.
 *
 * A metric is a family of series, one per combination of label values; a series begins with its
 * first value. So that no caller can fill the memory, a family holds METRIC_SERIES_MAX series:
 * what comes later counts in one more whose label values are all "other". */
#ifndef TINE_METRICS_METRICS_H
#define TINE_METRICS_METRICS_H

#include <stddef.h>

#define METRIC_LABELS_MAX    3
#define METRIC_SERIES_MAX    256
#define METRICS_CONTENT_TYPE "text/plain; version=0.0.4; charset=utf-8"

enum metric_type { METRIC_COUNTER, METRIC_GAUGE, METRIC_HISTOGRAM };

/* All texts and the bounds must outlive the registry. Names are as the format wants them: letters,
 * digits and underscores (asserted). */
struct metric_spec {
    const char *name, *help;
    enum metric_type type;
    const char *labels[METRIC_LABELS_MAX + 1]; /* names, up to a NULL */
    const double *bounds; /* of a histogram's buckets, ascending, without the infinite one */
    size_t bound_count;
};

struct metrics;
struct metric;

/* NULL: no memory. */
struct metrics *metrics_new(void);
void metrics_free(struct metrics *metrics);
/* Adds a family; it is written in the order of addition. NULL: no memory. */
struct metric *metrics_add(struct metrics *metrics, const struct metric_spec *spec);

/* `values`: one text per label of the metric, copied; NULL if it has none. */
void metric_add(struct metric *metric, double amount, const char *const *values);
/* For a gauge, and for a counter that is kept elsewhere. */
void metric_set(struct metric *metric, double value, const char *const *values);
void metric_observe(struct metric *metric, double value, const char *const *values);

/* Everything as text; owner: caller. NULL: no memory. */
char *metrics_text(struct metrics *metrics, size_t *length);

#endif
