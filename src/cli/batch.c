/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/batch.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/clock.h"
#include "cli/instance_view.h"
#include "cli/program.h"

struct batch *batch_new(const struct cli *cli, size_t count)
{
    struct batch *batch = calloc(1, sizeof(*batch));
    if (!batch)
        return NULL;
    batch->cli = cli;
    batch->count = count;
    batch->done_key = "instances";
    batch->calls = calloc(count + 1, sizeof(*batch->calls));
    if (!batch->calls) {
        free(batch);
        return NULL;
    }
    return batch;
}

void batch_free(struct batch *batch)
{
    if (!batch)
        return;
    http_calls_release(batch->calls, batch->count);
    free(batch->calls);
    free(batch);
}

static void report_failure(struct batch *batch, const struct http_call *call)
{
    batch->failed++;
    if (!batch->subject) {
        cli_report(batch->cli, call->name, &call->failure);
        return;
    }
    struct failure failure = call->failure;
    /* Among many it must say which. */
    if (batch->count > 1)
        snprintf(failure.message, sizeof(failure.message), "%s: %.1200s", call->name,
                 call->failure.message);
    cli_report(batch->cli, batch->subject, &failure);
}

static void on_done(struct http_call *call, void *data)
{
    struct batch *batch = data;
    if (batch->boots && call->reply)
        program_check(call->reply, &call->failure);
    if (call->failure.exit_status != 0) {
        report_failure(batch, call);
    } else if (!batch->cli->json && call->reply) {
        printf("%-*s  %.12s  %-8s %6.0f ms\n", batch->name_width, view_text(call->reply, "name"),
               view_text(call->reply, "id"), view_text(call->reply, "state"), call->elapsed_ms);
        fflush(stdout);
    } else if (!batch->cli->json) {
        printf("%s\n", call->name);
        fflush(stdout);
    }
}

static json_t *failed_json(const struct http_call *call)
{
    json_t *json = failure_json(&call->failure);
    json_object_set_new(json, "name", json_string(call->name));
    return json;
}

static json_t *done_json(const struct http_call *call)
{
    if (!call->reply)
        return json_string(call->name);
    json_object_set_new(call->reply, "elapsed_ms", json_real(call->elapsed_ms));
    return json_incref(call->reply);
}

static json_t *summary_json(const struct batch *batch)
{
    json_t *done = json_array(), *failed = json_array();
    for (size_t i = 0; i < batch->count; i++) {
        const struct http_call *call = &batch->calls[i];
        if (call->failure.exit_status != 0)
            json_array_append_new(failed, failed_json(call));
        else
            json_array_append_new(done, done_json(call));
    }
    return json_pack("{s:o, s:o, s:f}", batch->done_key, done, "failed", failed, "elapsed_ms",
                     batch->elapsed_ms);
}

int batch_run(struct batch *batch, json_t **summary)
{
    for (size_t i = 0; i < batch->count; i++) {
        int width = (int)strlen(batch->calls[i].name);
        batch->name_width = width > batch->name_width ? width : batch->name_width;
    }
    uint64_t started_ns = time_monotonic_ns();
    int status = http_run(batch->cli, batch->label, batch->calls, batch->count, on_done, batch);
    batch->elapsed_ms = (double)(time_monotonic_ns() - started_ns) / 1e6;
    *summary = batch->cli->json ? summary_json(batch) : NULL;
    return status;
}

int batch_run_all(struct batch *batch)
{
    json_t *summary = NULL;
    int status = batch_run(batch, &summary);
    if (summary)
        cli_print_json(summary);
    return status;
}

int batch_over_names(const struct cli *cli, const char *label, const char *method, const char *rest,
                     const json_t *body, char **names, unsigned count)
{
    _cleanup_(batch) struct batch *batch = batch_new(cli, count);
    if (!batch)
        return CLI_FAILED;
    batch->label = label;
    batch->boots = strcmp(rest, "/start") == 0;
    batch->done_key = strcmp(method, "DELETE") == 0 ? "removed" : "instances";
    for (unsigned i = 0; i < count; i++) {
        batch->calls[i].method = method;
        batch->calls[i].name = names[i];
        batch->calls[i].path = instance_path(names[i], rest);
        batch->calls[i].body = body ? json_deep_copy(body) : NULL;
        if (!batch->calls[i].path)
            return CLI_FAILED;
    }
    return batch_run_all(batch);
}
