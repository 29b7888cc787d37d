/* SPDX-License-Identifier: Apache-2.0 */
/* A cold boot: for create, start, and a fork of a Stopped source. */
#include <errno.h>
#include <stdio.h>

#include "base/clock.h"
#include "base/log.h"
#include "image/program.h"
#include "instance/directory.h"
#include "instance/host.h"
#include "instance/program_run.h"
#include "instance/ready.h"
#include "instance/trace.h"
#include "instance/watch.h"

/* The guest will change its disks: no memory image from before may outlive that. */
static int prepare(struct operation *op, struct error *err)
{
    int r = directory_sweep(op, err);
    if (r == 0)
        r = directory_drop(op, GUEST_SNAPSHOT, err);
    if (r == 0)
        r = directory_drop(op, GUEST_BASE, err);
    return r < 0 ? r : directory_clean_run(op, err);
}

/* The row knows the VMM before the guest can do much, so that a new tined finds it. */
static int record_vmm(struct operation *op, const struct vm_process *process, struct error *err)
{
    struct instance_record *record = &op->record;
    record->state = INSTANCE_INITIALIZING;
    record->vmm_pid = process->pid;
    record->vmm_start_ticks = process->start_ticks;
    record->started_at_ns = time_realtime_ns();
    program_forget_end(record);
    record->state_error[0] = '\0';
    int r = store_update(op->host->store, record, err);
    if (r == 0)
        r = watch_add(op->host->watch, record->id, process->pidfd, false, err);
    return r < 0 ? r : step("boot-recorded", err);
}

/* The row says Running; also of a guest whose program could not be started, which is on its way to
 * Stopped. */
static int record_ready(struct operation *op, const struct agent_exit *outcome, struct error *err)
{
    op->record.state = INSTANCE_RUNNING;
    if (outcome->code >= 0)
        program_over(&op->record, outcome);
    int r = store_update(op->host->store, &op->record, err);
    if (r < 0)
        return r;
    operation_show(op, INSTANCE_RUNNING);
    if (outcome->code >= 0)
        return power_off_locked(op, POWER_OFF_GRACE_MS, err);
    if (program_given(&op->record.program))
        watch_program(op->host->watch, op->record.id);
    return 0;
}

static int until_ready(struct operation *op, struct ready *ready, struct vm_process *process,
                       struct error *err)
{
    struct agent_exit outcome = {.code = -1};
    trace_phase(op, "agent");
    int r = record_vmm(op, process, err);
    if (r == 0 && !op->record.skip_guest_agent)
        r = ready_wait(op, ready, process, op->host->agent_timeout_ms, err);
    if (r == 0)
        r = step("boot-ready", err);
    if (r == 0)
        r = program_start(op, process, op->host->agent_timeout_ms, &outcome, err);
    if (r == 0)
        r = step("boot-program", err);
    return r < 0 ? r : record_ready(op, &outcome, err);
}

/* Back to what it was; what can't be put right now is when the row is next looked at. */
static void undo(struct operation *op, const struct instance_record *before,
                 struct vm_process *process)
{
    struct error err = {0};
    int r = vm_process_kill(process, VMM_KILL_MS, &err);
    if (r == 0)
        watch_remove(op->host->watch, op->record.id);
    op->record = *before;
    if (r == 0)
        r = directory_clean_run(op, &err);
    if (r == 0)
        r = store_update(op->host->store, before, &err);
    if (r < 0)
        log_error("instance %s: roll back its start: %s", op->record.id, err.message);
}

int boot_locked(struct operation *op, struct error *err)
{
    const struct hypervisor *hypervisor = operation_hypervisor(op);
    const struct vm_spec spec = operation_spec(op);
    const struct instance_record before = op->record;
    struct vm_process process = {.pidfd = -1};
    _cleanup_(ready) struct ready ready = READY_NONE;
    operation_show(op, INSTANCE_INITIALIZING);
    trace_phase(op, "launch");
    int r = operation_check_hypervisor(op, err);
    if (r == 0)
        r = prepare(op, err);
    if (r == 0)
        r = ready_listen(op, &ready, err);
    if (r == 0)
        r = step("boot-prepared", err);
    if (r == 0)
        r = hypervisor->boot(hypervisor, &spec, &process, err);
    if (r < 0)
        return r;
    r = step("boot-launched", err);
    if (r == 0)
        r = until_ready(op, &ready, &process, err);
    if (r < 0)
        undo(op, &before, &process);
    process_release(&process);
    return r;
}
