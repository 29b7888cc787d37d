/* SPDX-License-Identifier: Apache-2.0 */
#include "metrics/metrics.h"

#include <assert.h>
#include <ctype.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "metrics/metrics_private.h"

struct metrics *metrics_new(void)
{
    struct metrics *metrics = calloc(1, sizeof(*metrics));
    if (!metrics)
        return NULL;
    pthread_mutex_init(&metrics->mutex, NULL);
    metrics->last = &metrics->first;
    return metrics;
}

static void series_release(struct series *series)
{
    for (size_t i = 0; i < METRIC_LABELS_MAX; i++)
        free(series->values[i]);
    free(series->counts);
}

static void metric_free(struct metric *metric)
{
    for (size_t i = 0; i < metric->series_count; i++)
        series_release(&metric->series[i]);
    free(metric->series);
    free(metric);
}

void metrics_free(struct metrics *metrics)
{
    if (!metrics)
        return;
    while (metrics->first) {
        struct metric *metric = metrics->first;
        metrics->first = metric->next;
        metric_free(metric);
    }
    pthread_mutex_destroy(&metrics->mutex);
    free(metrics);
}

/* [a-zA-Z_][a-zA-Z0-9_]* */
static bool is_name(const char *text)
{
    for (const char *c = text; *c; c++) {
        if (*c != '_' && !isalpha((unsigned char)*c) && (c == text || !isdigit((unsigned char)*c)))
            return false;
    }
    return *text != '\0';
}

static size_t check_spec(const struct metric_spec *spec)
{
    size_t labels = 0;
    assert(is_name(spec->name));
    for (; labels < METRIC_LABELS_MAX && spec->labels[labels]; labels++)
        assert(is_name(spec->labels[labels]) && strcmp(spec->labels[labels], "le") != 0);
    for (size_t i = 1; i < spec->bound_count; i++)
        assert(spec->bounds[i - 1] < spec->bounds[i]);
    assert(spec->type != METRIC_HISTOGRAM || spec->bound_count > 0);
    return labels;
}

struct metric *metrics_add(struct metrics *metrics, const struct metric_spec *spec)
{
    size_t label_count = check_spec(spec);
    struct metric *metric = calloc(1, sizeof(*metric));
    if (!metric)
        return NULL;
    metric->metrics = metrics;
    metric->spec = *spec;
    metric->label_count = label_count;
    pthread_mutex_lock(&metrics->mutex);
    *metrics->last = metric;
    metrics->last = &metric->next;
    pthread_mutex_unlock(&metrics->mutex);
    return metric;
}

static bool matches(const struct metric *metric, const struct series *series,
                    const char *const *values)
{
    for (size_t i = 0; i < metric->label_count; i++) {
        if (strcmp(series->values[i], values[i]) != 0)
            return false;
    }
    return true;
}

static struct series *series_find(const struct metric *metric, const char *const *values)
{
    for (size_t i = 0; i < metric->series_count; i++) {
        if (matches(metric, &metric->series[i], values))
            return &metric->series[i];
    }
    return NULL;
}

static bool series_fill(const struct metric *metric, struct series *series,
                        const char *const *values)
{
    bool whole = true;
    for (size_t i = 0; i < metric->label_count; i++) {
        series->values[i] = strdup(values[i]);
        whole = whole && series->values[i];
    }
    if (metric->spec.type == METRIC_HISTOGRAM) {
        series->counts = calloc(metric->spec.bound_count + 1, sizeof(*series->counts));
        whole = whole && series->counts;
    }
    return whole;
}

/* NULL: no memory. */
static struct series *series_new(struct metric *metric, const char *const *values)
{
    if (!metric->series || metric->series_count == metric->series_capacity) {
        size_t capacity = 2 * metric->series_capacity + 4;
        struct series *grown = reallocarray(metric->series, capacity, sizeof(*grown));
        if (!grown)
            return NULL;
        metric->series = grown;
        metric->series_capacity = capacity;
    }
    struct series *series = &metric->series[metric->series_count];
    *series = (struct series){.value = 0};
    if (!series_fill(metric, series, values)) {
        series_release(series);
        return NULL;
    }
    metric->series_count++;
    return series;
}

/* With the mutex held. */
static struct series *series_of(struct metric *metric, const char *const *values)
{
    static const char *const other[METRIC_LABELS_MAX] = {"other", "other", "other"};
    struct series *series = series_find(metric, values);
    if (series)
        return series;
    if (metric->series_count < METRIC_SERIES_MAX)
        return series_new(metric, values);
    series = series_find(metric, other);
    return series ? series : series_new(metric, other);
}

void metric_add(struct metric *metric, double amount, const char *const *values)
{
    pthread_mutex_lock(&metric->metrics->mutex);
    struct series *series = series_of(metric, values);
    if (series)
        series->value += amount;
    pthread_mutex_unlock(&metric->metrics->mutex);
}

void metric_set(struct metric *metric, double value, const char *const *values)
{
    pthread_mutex_lock(&metric->metrics->mutex);
    struct series *series = series_of(metric, values);
    if (series)
        series->value = value;
    pthread_mutex_unlock(&metric->metrics->mutex);
}

void metric_observe(struct metric *metric, double value, const char *const *values)
{
    size_t bucket = 0;
    while (bucket < metric->spec.bound_count && value > metric->spec.bounds[bucket])
        bucket++;
    pthread_mutex_lock(&metric->metrics->mutex);
    struct series *series = series_of(metric, values);
    if (series && series->counts) {
        series->counts[bucket]++;
        series->value += value;
    }
    pthread_mutex_unlock(&metric->metrics->mutex);
}
