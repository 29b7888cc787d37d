/* SPDX-License-Identifier: Apache-2.0 */
#include "instance/watch_treat.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "base/log.h"
#include "image/program.h"
#include "instance/console.h"
#include "instance/directory.h"
#include "instance/paged.h"
#include "instance/program_run.h"
#include "instance/restart.h"
#include "instance/settle.h"
#include "instance/telemetry.h"
#include "instance/wake.h"
#include "instance/watch.h"

#define ANSWER_MS 500 /* how long one probe may hold the instance */

/* The state after a death: found from what is on disk. */
static enum outcome settle_dead(struct operation *op, const struct need_of *need)
{
    struct error err = {0};
    struct vm_process process;
    bool alive = operation_process(op, &process);
    process_release(&process);
    /* Another VMM, or an operation that has dealt with it. */
    if (alive || !record_has_vmm(&op->record))
        return DONE;
    char why[sizeof(op->record.exit_message)];
    struct console_line line = console_last_line(op);
    bool quiet = strcmp(need->how, ENDED_POWERED_OFF) == 0 || !line.text[0];
    snprintf(why, sizeof(why), "%s%s%s", need->how, quiet ? "" : "; the " CONSOLE_ENDS,
             quiet ? "" : line.text);
    if (settle_without_vmm(op, why, &err) == 0)
        return DONE;
    log_error("instance %s: its VMM ended, and: %s", need->id, err.message);
    return LATER;
}

/* Which wake this is, is not known any more; the first gives a fork its name. */
static const char *fork_name(const struct operation *op)
{
    return op->record.parent_id[0] ? op->record.name : NULL;
}

/* A tined that died between the two may have left the program unstarted. If it is over already, the
 * watcher is going to be told. */
static int reach(const struct operation *op, struct vm_process *process)
{
    struct agent_exit outcome;
    int r = wake_agent(op, process, fork_name(op), ANSWER_MS, NULL);
    return r < 0 ? r : program_start(op, process, ANSWER_MS, &outcome, NULL);
}

/* An adopted guest that may not know yet that it woke. */
static enum outcome probe(struct operation *op, const struct need_of *need)
{
    struct vm_process process;
    bool done = !operation_process(op, &process) || op->record.state != INSTANCE_INITIALIZING;
    if (!done && reach(op, &process) == 0) {
        struct error err = {0};
        op->record.state = INSTANCE_RUNNING;
        if (unlinkat(op->guest_fd, GUEST_BASE "/" SNAPSHOT_STATE, 0) < 0 && errno != ENOENT)
            log_warning("instance %s: remove base/state: %s", op->record.id, strerror(errno));
        done = store_update(op->host->store, &op->record, &err) == 0;
        if (done)
            telemetry_event(op, "agent-ready", "", "", "");
        else
            log_error("instance %s: %s", op->record.id, err.message);
        if (done && program_given(&op->record.program))
            watch_program(op->host->watch, op->record.id);
    }
    process_release(&process);
    return done ? DONE : LATER;
}

/* In the row before the guest is told to power off: then no moment is left to lose it in. */
static enum outcome record_end(struct operation *op, const struct need_of *need)
{
    struct error err = {0};
    if (!record_has_vmm(&op->record))
        return DONE;
    program_over(&op->record, &need->outcome);
    if (store_update(op->host->store, &op->record, &err) < 0) {
        log_error("instance %s: its program is over, and: %s", op->record.id, err.message);
        return LATER;
    }
    telemetry_event(op, "program-ended", "", "", op->record.exit_message);
    return DONE;
}

static enum outcome end_vmm(struct operation *op, const struct need_of *need)
{
    struct error err = {0};
    if (!op->record.has_exit_code || kill_locked(op, &err) == 0)
        return DONE;
    log_error("instance %s: its program is over, and: %s", op->record.id, err.message);
    return LATER;
}

static enum outcome follow_pager(struct operation *op, const struct need_of *need)
{
    struct error err = {0};
    if (paged_follow(op, &err) == 0)
        return DONE;
    log_error("instance %s: its pager: %s", need->id, err.message);
    return LATER;
}

static enum outcome (*const treatments[])(struct operation *op, const struct need_of *need) = {
    [NEED_SETTLE] = settle_dead, [NEED_PAGER] = follow_pager, [NEED_PROBE] = probe,
    [NEED_RECORD] = record_end,  [NEED_KILL] = end_vmm,
};

enum outcome watch_treat(struct host *host, const struct need_of *need)
{
    struct error err = {0};
    _cleanup_(log_context) struct log_context context;
    _cleanup_(operation) struct operation op = OPERATION_NONE;
    log_context_begin(&context, need->id, NULL);
    int r = operation_begin_raw(host, need->id, LOCK_TRY_EXCLUSIVE, &op, &err);
    if (r == -ENOENT)
        return DONE; /* deleted */
    if (r == -EBUSY)
        return BUSY;
    if (r == 0)
        r = operation_open_directory(&op, &err);
    if (r < 0) {
        log_error("instance %s: %s", need->id, err.message);
        return LATER;
    }
    return treatments[need->need](&op, need);
}
