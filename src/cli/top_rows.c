/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/top_rows.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/clock.h"
#include "cli/batch.h"
#include "cli/instance_view.h"

int top_order_parse(const char *name, enum top_order *order)
{
    static const char *const names[] = {"cpu", "private", "shared", "owners", "name", "age"};
    for (size_t i = 0; i < ARRAY_SIZE(names); i++) {
        if (strcmp(name, names[i]) == 0) {
            *order = (enum top_order)i;
            return 0;
        }
    }
    return -EINVAL;
}

static uint64_t figure(const json_t *stats, const char *name)
{
    return (uint64_t)json_integer_value(view_inner(stats, "tine", name));
}

/* The share of one CPU between two measurements of the same instance. */
static double cpu_percent(const struct top_rows *before, const struct top_row *row)
{
    for (size_t i = 0; i < before->count; i++) {
        const struct top_row *old = &before->list[i];
        if (strcmp(old->id, row->id) != 0)
            continue;
        double seconds = (double)(row->measured_ns - old->measured_ns) / 1e9;
        /* A VMM that was started in between counts from zero. */
        double used = row->cpu_seconds >= old->cpu_seconds ? row->cpu_seconds - old->cpu_seconds
                                                           : row->cpu_seconds;
        return seconds > 0 ? 100 * used / seconds : -1;
    }
    return -1;
}

/* "59 minutes" as "59m". */
static void short_age(const json_t *instance, char text[16])
{
    char age[32], unit = ' ';
    long number = 0;
    view_age(view_text(instance, "created_at"), age);
    text[0] = '\0';
    if (sscanf(age, "%ld %c", &number, &unit) == 2)
        snprintf(text, 16, "%ld%c", number, unit);
}

static void row_fill(struct top_row *row, const json_t *list, const json_t *instance)
{
    *row = (struct top_row){.cpu_percent = -1};
    snprintf(row->id, sizeof(row->id), "%s", view_text(instance, "id"));
    snprintf(row->name, sizeof(row->name), "%s", view_text(instance, "name"));
    snprintf(row->state, sizeof(row->state), "%s", view_text(instance, "state"));
    view_parent(list, instance, row->parent);
    short_age(instance, row->age);
}

static void row_measure(struct top_row *row, const json_t *stats, const struct top_rows *before)
{
    row->measured_ns = time_monotonic_ns();
    row->cpu_seconds = json_number_value(json_object_get(stats, "cpu_seconds"));
    row->private_bytes = figure(stats, "memory_private_bytes");
    row->shared_bytes = figure(stats, "memory_shared_bytes");
    row->owners = figure(stats, "memory_link_count");
    row->cpu_percent = cpu_percent(before, row);
}

struct measuring {
    struct top_rows *rows;
    const struct top_rows *before;
    const struct http_call *calls;
};

static void on_stats(struct http_call *call, void *data)
{
    const struct measuring *measuring = data;
    if (call->reply)
        row_measure(&measuring->rows->list[call - measuring->calls], call->reply,
                    measuring->before);
}

/* One that was deleted meanwhile is left out. */
static void drop_unmeasured(struct top_rows *rows)
{
    size_t kept = 0;
    for (size_t i = 0; i < rows->count; i++) {
        if (rows->list[i].measured_ns != 0)
            rows->list[kept++] = rows->list[i];
    }
    rows->count = kept;
}

static int measure(const struct cli *cli, const struct top_rows *before, struct top_rows *rows,
                   struct failure *failure)
{
    _cleanup_(batch) struct batch *batch = batch_new(cli, rows->count);
    if (!batch)
        return failure_set(failure, CLI_FAILED, "failed", "out of memory");
    for (size_t i = 0; i < rows->count; i++) {
        batch->calls[i].method = "GET";
        batch->calls[i].path = instance_path(rows->list[i].id, "/stats");
    }
    struct measuring measuring = {rows, before, batch->calls};
    http_run(cli, NULL, batch->calls, rows->count, on_stats, &measuring);
    for (size_t i = 0; i < rows->count; i++) {
        if (batch->calls[i].failure.exit_status == CLI_UNREACHABLE) {
            *failure = batch->calls[i].failure;
            return failure->exit_status;
        }
    }
    drop_unmeasured(rows);
    return CLI_OK;
}

int top_rows_get(const struct cli *cli, bool all, const struct top_rows *before,
                 struct top_rows *rows, struct failure *failure)
{
    *rows = (struct top_rows){.count = 0};
    _cleanup_(json) json_t *list = http_get(cli, NULL, "/instances", failure);
    if (!list)
        return failure->exit_status;
    rows->list = calloc(json_array_size(list) + 1, sizeof(*rows->list));
    if (!rows->list)
        return failure_set(failure, CLI_FAILED, "failed", "out of memory");
    size_t i;
    json_t *instance;
    json_array_foreach(list, i, instance)
    {
        if (all || !view_is_asleep(instance))
            row_fill(&rows->list[rows->count++], list, instance);
        else
            rows->asleep++;
    }
    return measure(cli, before, rows, failure);
}

static int descending(double a, double b)
{
    return a > b ? -1 : a < b;
}

static int compare(const void *a, const void *b, void *order)
{
    const struct top_row *x = a, *y = b;
    const double pairs[][2] = {
        [TOP_CPU] = {x->cpu_percent, y->cpu_percent},
        [TOP_PRIVATE] = {(double)x->private_bytes, (double)y->private_bytes},
        [TOP_SHARED] = {(double)x->shared_bytes, (double)y->shared_bytes},
        [TOP_OWNERS] = {(double)x->owners, (double)y->owners},
    };
    const enum top_order by = *(const enum top_order *)order;
    int r = by < ARRAY_SIZE(pairs) ? descending(pairs[by][0], pairs[by][1]) : 0;
    return r != 0 ? r : strcmp(x->name, y->name);
}

/* tined lists in the order of creation. */
static void reverse(struct top_rows *rows)
{
    for (size_t i = 0; i < rows->count / 2; i++) {
        struct top_row row = rows->list[i];
        rows->list[i] = rows->list[rows->count - 1 - i];
        rows->list[rows->count - 1 - i] = row;
    }
}

void top_rows_sort(struct top_rows *rows, enum top_order order)
{
    if (order == TOP_AGE)
        reverse(rows);
    else if (rows->count > 1)
        qsort_r(rows->list, rows->count, sizeof(*rows->list), compare, &order);
}

json_t *top_rows_json(const struct top_rows *rows)
{
    json_t *list = json_array();
    for (size_t i = 0; i < rows->count; i++) {
        const struct top_row *row = &rows->list[i];
        json_array_append_new(
            list,
            json_pack("{s:s, s:s, s:s, s:o, s:I, s:I, s:I, s:o, s:s}", "id", row->id, "name",
                      row->name, "state", row->state, "cpu_percent",
                      row->cpu_percent < 0 ? json_null() : json_real(row->cpu_percent),
                      "memory_private_bytes", (json_int_t)row->private_bytes, "memory_shared_bytes",
                      (json_int_t)row->shared_bytes, "owners", (json_int_t)row->owners, "parent",
                      *row->parent ? json_string(row->parent) : json_null(), "age", row->age));
    }
    return list;
}

void top_rows_release(struct top_rows *rows)
{
    free(rows->list);
    *rows = (struct top_rows){.count = 0};
}
