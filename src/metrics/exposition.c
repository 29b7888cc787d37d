/* SPDX-License-Identifier: Apache-2.0 */
/* The text form: https://prometheus.io/docs/instrumenting/exposition_formats/, "text-based format".
 */
#include <inttypes.h>
#include <math.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "metrics/metrics_private.h"

/* The shortest of the usual forms that reads back as the same number. */
static void print_number(FILE *out, double value)
{
    char text[40];
    if (isnan(value) || isinf(value)) {
        fputs(isnan(value) ? "NaN" : value > 0 ? "+Inf" : "-Inf", out);
        return;
    }
    for (int digits = 6; digits <= 17; digits++) {
        snprintf(text, sizeof(text), "%.*g", digits, value);
        if (strtod(text, NULL) == value)
            break;
    }
    fputs(text, out);
}

/* Backslash and line feed are escaped everywhere, the quote in label values only. */
static void print_escaped(FILE *out, const char *text, bool quote)
{
    for (; *text; text++) {
        if (*text == '\\' || (quote && *text == '"'))
            fputc('\\', out);
        if (*text == '\n')
            fputs("\\n", out);
        else
            fputc(*text, out);
    }
}

/* name{label="value",le="bound"}; `bound` is NULL for all but buckets. */
static void print_series(FILE *out, const struct metric *metric, const struct series *series,
                         const char *suffix, const double *bound)
{
    fprintf(out, "%s%s", metric->spec.name, suffix);
    const char *separator = "{";
    for (size_t i = 0; i < metric->label_count; i++) {
        fprintf(out, "%s%s=\"", separator, metric->spec.labels[i]);
        print_escaped(out, series->values[i], true);
        fputc('"', out);
        separator = ",";
    }
    if (bound) {
        fprintf(out, "%sle=\"", separator);
        print_number(out, *bound);
        fputc('"', out);
        separator = ",";
    }
    fputs(*separator == ',' ? "} " : " ", out);
}

static void print_histogram(FILE *out, const struct metric *metric, const struct series *series)
{
    const double infinite = INFINITY;
    uint64_t count = 0;
    for (size_t i = 0; i <= metric->spec.bound_count; i++) {
        bool last = i == metric->spec.bound_count;
        count += series->counts[i];
        print_series(out, metric, series, "_bucket", last ? &infinite : &metric->spec.bounds[i]);
        fprintf(out, "%" PRIu64 "\n", count);
    }
    print_series(out, metric, series, "_sum", NULL);
    print_number(out, series->value);
    fputc('\n', out);
    print_series(out, metric, series, "_count", NULL);
    fprintf(out, "%" PRIu64 "\n", count);
}

static void print_metric(FILE *out, const struct metric *metric)
{
    static const char *const types[] = {"counter", "gauge", "histogram"};
    fprintf(out, "# HELP %s ", metric->spec.name);
    print_escaped(out, metric->spec.help, false);
    fprintf(out, "\n# TYPE %s %s\n", metric->spec.name, types[metric->spec.type]);
    for (size_t i = 0; i < metric->series_count; i++) {
        const struct series *series = &metric->series[i];
        if (metric->spec.type == METRIC_HISTOGRAM) {
            print_histogram(out, metric, series);
            continue;
        }
        print_series(out, metric, series, "", NULL);
        print_number(out, series->value);
        fputc('\n', out);
    }
}

char *metrics_text(struct metrics *metrics, size_t *length)
{
    char *text = NULL;
    FILE *out = open_memstream(&text, length);
    if (!out)
        return NULL;
    pthread_mutex_lock(&metrics->mutex);
    for (const struct metric *metric = metrics->first; metric; metric = metric->next)
        print_metric(out, metric);
    pthread_mutex_unlock(&metrics->mutex);
    bool whole = !ferror(out);
    if (fclose(out) == 0 && whole)
        return text;
    free(text);
    return NULL;
}
