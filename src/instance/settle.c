/* SPDX-License-Identifier: Apache-2.0 */
#include "instance/settle.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "base/clock.h"
#include "base/file.h"
#include "base/log.h"
#include "image/program.h"
#include "instance/compaction.h"
#include "instance/directory.h"
#include "instance/memory_image.h"
#include "instance/memory_stack.h"
#include "instance/paged.h"
#include "instance/restart.h"
#include "instance/telemetry.h"
#include "instance/watch.h"

static int write_row(struct operation *op, const struct instance_record *before, struct error *err)
{
    if (before->state == op->record.state && before->vmm_pid == op->record.vmm_pid &&
        before->vmm_start_ticks == op->record.vmm_start_ticks)
        return 0;
    log_info("instance %s (%s): %s", op->record.id, op->record.name,
             instance_state_name(op->record.state));
    int r = store_update(op->host->store, &op->record, err);
    if (r < 0)
        op->record = *before;
    else if (!op->trace)
        telemetry_settled(op, record_has_vmm(before));
    return r;
}

int settle_unknown(struct operation *op, const char *why, struct error *err)
{
    struct instance_record before = op->record;
    op->record.state = INSTANCE_UNKNOWN;
    snprintf(op->record.state_error, sizeof(op->record.state_error), "%s", why);
    log_error("instance %s (%s): %s", op->record.id, op->record.name, why);
    return write_row(op, &before, err);
}

/* Promise 2: what was renamed for a restore goes back where the guest can have left no trace. */
static int take_base_back(struct operation *op, struct error *err)
{
    int r = file_exists(op->guest_fd, GUEST_BASE "/" SNAPSHOT_STATE, err);
    if (r <= 0 || record_has_writable_disk(&op->record))
        return r < 0 ? r : 0;
    r = directory_rename(op, GUEST_BASE, GUEST_SNAPSHOT, err);
    return r < 0 ? r : 1;
}

/* A row that does not say Standby may be of before that image was written. What is wrong with it a
 * restore tells. */
static void note_layers(struct operation *op)
{
    struct error cause = {0};
    const struct label label = operation_label(op, GUEST_SNAPSHOT "/" SNAPSHOT_MEMORY);
    _cleanup_(close) int dir = dir_open(op->guest_fd, GUEST_SNAPSHOT, &cause);
    if (dir < 0 || memory_stack_note(dir, label.text, &op->record, &cause) < 0)
        log_warning("instance %s: %s", op->record.id, cause.message);
}

static int find_snapshot(struct operation *op, struct error *err)
{
    int r = file_exists(op->guest_fd, GUEST_SNAPSHOT, err);
    if (r == 0)
        r = take_base_back(op, err);
    if (r <= 0)
        return r;
    if (op->record.state != INSTANCE_STANDBY)
        note_layers(op);
    else if ((r = compaction_settle(op, err)) < 0)
        return r;
    const struct owner owner = operation_owner(op);
    r = memory_settle(&owner, err);
    return r < 0 ? r : 1;
}

int settle_without_vmm(struct operation *op, const char *why, struct error *err)
{
    struct instance_record before = op->record;
    watch_remove(op->host->watch, op->record.id);
    paged_end(op);
    int r = directory_sweep(op, err);
    if (r == 0)
        r = directory_clean_run(op, err);
    if (r < 0)
        return r;
    int snapshot = find_snapshot(op, err);
    if (snapshot < 0)
        return snapshot;
    r = directory_drop(op, GUEST_BASE, err);
    if (r < 0)
        return r;
    bool lost = !snapshot && before.state != INSTANCE_STOPPED;
    op->record.state = snapshot ? INSTANCE_STANDBY : INSTANCE_STOPPED;
    op->record.state_error[0] = '\0';
    if (lost) {
        /* How the program ended says more than what followed from it. */
        if (!op->record.has_exit_code)
            snprintf(op->record.exit_message, sizeof(op->record.exit_message), "%s", why);
        op->record.stopped_at_ns = time_realtime_ns();
    }
    if (lost && record_has_vmm(&before))
        restart_plan(&op->record, why);
    record_tidy(&op->record);
    r = write_row(op, &before, err);
    if (r == 0)
        restart_tell(op->host, &op->record);
    return r;
}

/* The VM is running, or was made to: the row says so, and if the agent still has to be told that it
 * woke, the watcher does it. */
static int adopt(struct operation *op, struct vm_process *process, struct error *err)
{
    struct instance_record before = op->record;
    int r = directory_sweep(op, err);
    int state_left = r < 0 ? r : file_exists(op->guest_fd, GUEST_BASE "/" SNAPSHOT_STATE, err);
    if (state_left < 0)
        return state_left;
    bool wait =
        !op->record.skip_guest_agent && (state_left || op->record.state == INSTANCE_INITIALIZING);
    op->record.state = wait ? INSTANCE_INITIALIZING : INSTANCE_RUNNING;
    op->record.state_error[0] = '\0';
    op->record.vmm_pid = process->pid;
    op->record.vmm_start_ticks = process->start_ticks;
    r = write_row(op, &before, err);
    if (r == 0)
        r = watch_add(op->host->watch, op->record.id, process->pidfd, wait, err);
    if (r == 0 && !wait && program_given(&op->record.program))
        watch_program(op->host->watch, op->record.id);
    return r < 0 ? r : paged_settle(op, err);
}

static int end_vmm(struct operation *op, struct vm_process *process, const char *why,
                   struct error *err)
{
    int r = vm_process_kill(process, VMM_KILL_MS, err);
    return r < 0 ? r : settle_without_vmm(op, why, err);
}

static int settle_paused(struct operation *op, struct vm_process *process, const char *why,
                         struct error *err)
{
    const struct vm_spec spec = operation_spec(op);
    int snapshot = file_exists(op->guest_fd, GUEST_SNAPSHOT, err);
    if (snapshot < 0)
        return snapshot;
    if (snapshot)
        return end_vmm(op, process, why, err);
    const struct hypervisor *hypervisor = operation_hypervisor(op);
    int r = hypervisor->resume(hypervisor, &spec, err);
    return r < 0 ? r : adopt(op, process, err);
}

/* snapshot/ beside a running VM breaks promise 1: somebody else resumed it. The guest went on, so
 * the snapshot no longer fits its disks. */
static int settle_running(struct operation *op, struct vm_process *process, struct error *err)
{
    int r = directory_drop(op, GUEST_SNAPSHOT, err);
    return r < 0 ? r : adopt(op, process, err);
}

static int settle_with_vmm(struct operation *op, struct vm_process *process, const char *why,
                           struct error *err)
{
    const struct hypervisor *hypervisor = operation_hypervisor(op);
    const struct vm_spec spec = operation_spec(op);
    char state[16] = "";
    int r = hypervisor->query(hypervisor, &spec, state, err);
    if (r < 0)
        return r;
    if (strcmp(state, "Running") == 0)
        return settle_running(op, process, err);
    if (strcmp(state, "Paused") == 0)
        return settle_paused(op, process, why, err);
    return end_vmm(op, process, why, err);
}

int settle(struct operation *op, const char *why, struct error *err)
{
    struct vm_process process;
    if (!operation_process(op, &process))
        return settle_without_vmm(op, why, err);
    struct error cause = {0};
    int r = settle_with_vmm(op, &process, why, &cause);
    bool ended = r < 0 && process_has_ended(&process, r);
    process_release(&process);
    if (r == 0)
        return 0;
    if (ended)
        return settle_without_vmm(op, why, err);
    char text[sizeof(op->record.state_error)];
    snprintf(text, sizeof(text), "the VMM process %d: %.400s", op->record.vmm_pid, cause.message);
    return settle_unknown(op, text, err);
}
