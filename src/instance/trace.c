/* SPDX-License-Identifier: Apache-2.0 */
#include "instance/trace.h"

#include <errno.h>
#include <inttypes.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <sys/random.h>

#include "base/clock.h"
#include "instance/console.h"
#include "instance/operation_log.h"
#include "instance/telemetry.h"

#define PHASE_WAIT "wait" /* for other operations on the same instance */

static void id_choose(char id[TRACE_ID_LENGTH + 1])
{
    const struct log_context *outer = log_context_current();
    uint64_t number;
    if (outer && outer->operation) {
        snprintf(id, TRACE_ID_LENGTH + 1, "%s", outer->operation);
        return;
    }
    /* An id only has to tell operations apart: the time does that, too. */
    if (getrandom(&number, sizeof(number), GRND_NONBLOCK) != (ssize_t)sizeof(number))
        number = time_realtime_ns();
    snprintf(id, TRACE_ID_LENGTH + 1, "%016" PRIx64, number);
}

void trace_begin(struct trace *trace, struct operation *op, const char *kind)
{
    uint64_t now = time_monotonic_ns();
    *trace = (struct trace){
        .op = op, .outer = op->trace, .kind = kind, .started_ns = now - op->waited_ns};
    trace->phases[0].name = PHASE_WAIT;
    trace->phase_count = 1;
    trace->phase_started_ns = trace->started_ns;
    op->trace = trace;
    op->waited_ns = 0; /* an inner one did not wait for it */
    id_choose(trace->id);
    log_context_begin(&trace->log, op->record.id, trace->id);
    const struct log_field field = {"kind", kind};
    log_line_fields(LOG_LEVEL_INFO, &field, 1, "%s of %s begins", kind, op->record.name);
}

static void phase_close(struct trace *trace)
{
    uint64_t now = time_monotonic_ns();
    trace->phases[trace->phase_count - 1].ns = now - trace->phase_started_ns;
    trace->phase_started_ns = now;
}

/* What does not fit is part of the last one. */
void trace_phase(struct operation *op, const char *name)
{
    struct trace *trace = op->trace;
    if (!trace || trace->phase_count == TRACE_PHASES_MAX)
        return;
    phase_close(trace);
    trace->phases[trace->phase_count++].name = name;
}

static void measure(const struct trace *trace, const char *result, uint64_t duration_ns)
{
    const struct telemetry *telemetry = trace->op->host->telemetry;
    metric_add(telemetry->operations, 1, (const char *const[]){trace->kind, result});
    if (strcmp(result, "ok") != 0)
        return;
    metric_observe(telemetry->durations, (double)duration_ns / 1e9,
                   (const char *const[]){trace->kind});
    for (size_t i = 0; i < trace->phase_count; i++)
        metric_observe(telemetry->phases, (double)trace->phases[i].ns / 1e9,
                       (const char *const[]){trace->kind, trace->phases[i].name});
}

/* "pause 0.4, save 210.5" */
static void phases_text(const struct trace *trace, char *text, size_t size)
{
    size_t used = 0;
    text[0] = '\0';
    for (size_t i = 0; i < trace->phase_count && used < size; i++) {
        int n = snprintf(text + used, size - used, "%s%s %.1f", i > 0 ? ", " : "",
                         trace->phases[i].name, (double)trace->phases[i].ns / 1e6);
        used += n > 0 ? (size_t)n : 0;
    }
}

/* What the asker did wrong is for the asker to see. */
static enum log_level level_of(const struct error *err)
{
    return err && (err->code == ERROR_INVALID || err->code == ERROR_STATE ||
                   err->code == ERROR_NAME || err->code == ERROR_NOT_FOUND)
               ? LOG_LEVEL_INFO
               : LOG_LEVEL_WARNING;
}

static void tell(const struct trace *trace, int r, const char *result, uint64_t duration_ns,
                 const struct error *err)
{
    char milliseconds[32], phases[512];
    snprintf(milliseconds, sizeof(milliseconds), "%.1f", (double)duration_ns / 1e6);
    phases_text(trace, phases, sizeof(phases));
    const struct log_field fields[] = {
        {"kind", trace->kind}, {"result", result}, {"duration_ms", milliseconds}};
    const char *name = trace->op->record.name;
    const char *reason = err ? err->message : errno_name(-r);
    if (r == 0)
        log_line_fields(LOG_LEVEL_INFO, fields, ARRAY_SIZE(fields), "%s of %s%s%s is done (ms: %s)",
                        trace->kind, name, *trace->note ? " " : "", trace->note, phases);
    else
        log_line_fields(level_of(err), fields, ARRAY_SIZE(fields), "%s of %s failed: %.*s",
                        trace->kind, name, console_loggable(reason), reason);
}

/* The same for who looks after the instance; of one that is gone there is nobody left to tell. */
static void keep(const struct trace *trace, int r, const char *result, uint64_t duration_ns,
                 const struct error *err)
{
    char phases[512];
    double ms = (double)duration_ns / 1e6;
    const char *reason = err ? err->message : errno_name(-r);
    const char *space = *trace->note ? " " : "";
    if (trace->op->removed)
        return;
    phases_text(trace, phases, sizeof(phases));
    if (r == 0)
        operation_log_add(trace->op, "%s%s%s: ok in %.1f ms (%s) operation=%s", trace->kind, space,
                          trace->note, ms, phases, trace->id);
    else
        operation_log_add(trace->op, "%s%s%s: failed (%s) in %.1f ms: %.*s operation=%s",
                          trace->kind, space, trace->note, result, ms, console_loggable(reason),
                          reason, trace->id);
}

int trace_end(struct trace *trace, int r, const struct error *err)
{
    if (!trace->op)
        return r;
    phase_close(trace);
    uint64_t duration_ns = trace->phase_started_ns - trace->started_ns;
    const char *result = r == 0 ? "ok" : error_code_name(err ? err->code : ERROR_SYSTEM);
    measure(trace, result, duration_ns);
    tell(trace, r, result, duration_ns, err);
    keep(trace, r, result, duration_ns, err);
    telemetry_event(trace->op, trace->kind, trace->id, result,
                    r == 0 ? trace->note
                    : err  ? err->message
                           : errno_name(-r));
    cleanup_log_context(&trace->log);
    trace->op->trace = trace->outer;
    trace->op = NULL;
    return r;
}

int traced(struct operation *op, const char *kind, int (*run)(struct operation *, struct error *),
           struct error *err)
{
    struct trace trace;
    trace_begin(&trace, op, kind);
    return trace_end(&trace, run(op, err), err);
}
