/* SPDX-License-Identifier: Apache-2.0 */
/* An operation as an operator sees it: an id that its log lines carry, one line at its start and
 * one at its end, its duration whole and by phase in the metrics, and an event.
 *
 * It begins when the instance is locked and the operation is allowed: what is refused before that
 * is no operation. */
#ifndef TINE_INSTANCE_TRACE_H
#define TINE_INSTANCE_TRACE_H

#include "base/log.h"
#include "instance/host.h"

#define TRACE_ID_LENGTH  16
#define TRACE_PHASES_MAX 12

struct trace {
    struct operation *op; /* NULL: not begun, or ended */
    struct trace *outer;  /* what the instance was in before; NULL: nothing */
    const char *kind;     /* static, as a phase's name: they are labels of metrics */
    char id[TRACE_ID_LENGTH + 1];
    char note[80]; /* more about it, for its end; the operation may fill it: "from web" */
    struct log_context log;
    uint64_t started_ns, phase_started_ns;
    struct {
        const char *name;
        uint64_t ns;
    } phases[TRACE_PHASES_MAX];
    size_t phase_count;
};

/* Begins `kind` ("standby") on the instance that `op` holds, or, of a snapshot's delete, names.
 * Within another operation of this thread, as the standby of a source within a fork is, it has that
 * operation's id. */
void trace_begin(struct trace *trace, struct operation *op, const char *kind);
/* Ends it with `r` and, if that is negative, `err`; returns `r`. Nothing happens to a trace that
 * has not begun. What was locked still is. Every way out of the function
 * that began it leads here: the thread's log lines carry it until then. */
int trace_end(struct trace *trace, int r, const struct error *err);

/* The same around one function. */
int traced(struct operation *op, const char *kind, int (*run)(struct operation *, struct error *),
           struct error *err);

/* From here on, until the next or the end, the operation that `op` is in, if any, is in this phase.
 */
void trace_phase(struct operation *op, const char *name);

#endif
