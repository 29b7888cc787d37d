/* SPDX-License-Identifier: Apache-2.0 */
/* Standby -> Running, in this order (the promises are those of settle.h):
 *
 *   load snapshot/ into a VMM, paused; write the row; rename snapshot/ to base/, durably; resume;
 *   tell the agent; remove base/state.
 *
 * Once the guest runs it may change its disks, and then its memory image no longer fits them. So
 * snapshot/ must be gone, durably, before the first instruction: that is why the VM is loaded
 * paused. Until then a failure kills the VMM and nothing has changed. The VMM has the memory file
 * mapped: the rename does not disturb it. base/memory is kept for the next standby, which may write
 * what changed into it. */
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/file.h"
#include "base/log.h"
#include "image/program.h"
#include "instance/compaction.h"
#include "instance/directory.h"
#include "instance/host.h"
#include "instance/memory_image.h"
#include "instance/memory_stack.h"
#include "instance/paged.h"
#include "instance/program_run.h"
#include "instance/settle.h"
#include "instance/trace.h"
#include "instance/transition.h"
#include "instance/wake.h"
#include "instance/watch.h"
#include "stack/compression.h"

#define LAST_BREATH_MS 1000

static int check_memory(struct operation *op, struct error *err)
{
    const struct label label = operation_label(op, GUEST_SNAPSHOT "/" SNAPSHOT_MEMORY);
    _cleanup_(close) int dir = dir_open(op->guest_fd, GUEST_SNAPSHOT, err);
    if (dir < 0)
        return dir;
    const struct stack_file memory = {dir, SNAPSHOT_MEMORY, label.text};
    struct stack_packed packed;
    /* A compressed one was looked at when it was taken. */
    int r = stack_find_packed(&memory, &packed, err);
    if (r == 0)
        r = stack_check_size(&memory, op->record.memory_bytes, err);
    return r < 0 ? r : memory_stack_check(dir, label.text, &op->record, err);
}

static int prepare(struct operation *op, struct error *err)
{
    int r = operation_check_hypervisor(op, err);
    if (r == 0)
        r = memory_take(op, err);
    if (r == 0)
        r = check_memory(op, err);
    if (r == 0)
        r = directory_sweep(op, err);
    if (r == 0)
        r = compaction_require(op, err);
    if (r == 0)
        r = directory_drop(op, GUEST_BASE, err);
    return r < 0 ? r : directory_clean_run(op, err);
}

static int record_running(struct operation *op, const struct vm_process *process, struct error *err)
{
    struct instance_record *record = &op->record;
    record->state = INSTANCE_RUNNING;
    record->vmm_pid = process->pid;
    record->vmm_start_ticks = process->start_ticks;
    record->started_at_ns = time_realtime_ns();
    program_forget_end(record);
    record->compression[0] = '\0';
    int r = store_update(op->host->store, record, err);
    return r < 0 ? r : step("restore-recorded", err);
}

/* Everything until the guest's first instruction, and that. */
static int let_run(struct operation *op, const struct vm_process *process, struct error *err)
{
    const struct hypervisor *hypervisor = operation_hypervisor(op);
    const struct vm_spec spec = operation_spec(op);
    trace_phase(op, "record");
    int r = step("restore-loaded", err);
    if (r == 0)
        r = paged_loaded(op, err);
    if (r == 0)
        r = record_running(op, process, err);
    if (r == 0)
        r = directory_rename(op, GUEST_SNAPSHOT, GUEST_BASE, err);
    if (r == 0)
        paged_moved(op);
    if (r == 0)
        r = step("restore-renamed", err);
    trace_phase(op, "resume");
    if (r == 0)
        r = hypervisor->resume(hypervisor, &spec, err);
    if (r == 0)
        r = step("restore-resumed", err);
    return r;
}

static int acknowledge(struct operation *op, struct vm_process *process, const char *hostname,
                       struct error *err)
{
    if (op->record.skip_guest_agent)
        return 0;
    trace_phase(op, "agent");
    int r = wake_agent(op, process, hostname, op->host->agent_timeout_ms, err);
    return r < 0 ? r : step("restore-told", err);
}

/* It runs and it knows it: base/state has served. If it stays, the next standby removes it. */
static void finish(struct operation *op)
{
    if (unlinkat(op->guest_fd, GUEST_BASE "/" SNAPSHOT_STATE, 0) < 0 && errno != ENOENT)
        log_warning("instance %s: remove base/state: %s", op->record.id, strerror(errno));
}

/* True if the guest can have changed a disk: it may have run and has one that it may write. A VM
 * that says it is paused has not run. */
static bool may_have_changed_disks(struct operation *op)
{
    const struct hypervisor *hypervisor = operation_hypervisor(op);
    const struct vm_spec spec = operation_spec(op);
    char state[16] = "";
    if (!record_has_writable_disk(&op->record) ||
        file_exists(op->guest_fd, GUEST_SNAPSHOT, NULL) == 1)
        return false;
    return hypervisor->query(hypervisor, &spec, state, NULL) < 0 || strcmp(state, "Paused") != 0;
}

/* Standby as before. */
static int undo(struct operation *op, const struct instance_record *before,
                struct vm_process *process, struct error *err)
{
    int r = vm_process_kill(process, VMM_KILL_MS, err);
    if (r < 0)
        return r;
    paged_end(op);
    int snapshot = file_exists(op->guest_fd, GUEST_SNAPSHOT, err);
    r = snapshot < 0    ? snapshot
        : snapshot == 0 ? directory_rename(op, GUEST_BASE, GUEST_SNAPSHOT, err)
                        : 0;
    if (r == 0)
        r = directory_clean_run(op, err);
    if (r < 0)
        return r;
    bool row_changed = op->record.state != before->state;
    op->record = *before;
    return row_changed ? store_update(op->host->store, before, err) : 0;
}

/* A VMM that does not answer any more may be on its way out: it is given a moment to be gone. */
static bool has_ended(struct operation *op, struct vm_process *process)
{
    const struct hypervisor *hypervisor = operation_hypervisor(op);
    const struct vm_spec spec = operation_spec(op);
    char state[16] = "";
    bool answers = hypervisor->query(hypervisor, &spec, state, NULL) == 0;
    return vm_process_wait(process, answers ? 0 : LAST_BREATH_MS, NULL) > 0;
}

/* The guest has run and its snapshot is past. If it still runs it stays, and the watcher goes on
 * asking its agent; if not, it is Stopped. */
static int keep(struct operation *op, struct vm_process *process, struct error *err)
{
    if (has_ended(op, process))
        return settle_without_vmm(op, "the VMM ended while the guest woke", err);
    op->record.state = INSTANCE_INITIALIZING;
    int r = store_update(op->host->store, &op->record, err);
    return r < 0 ? r : watch_add(op->host->watch, op->record.id, process->pidfd, true, err);
}

static int fail(struct operation *op, const struct instance_record *before,
                struct vm_process *process, int r, struct error *err)
{
    struct error cause = {0};
    bool changed = may_have_changed_disks(op);
    int undone = changed ? keep(op, process, &cause) : undo(op, before, process, &cause);
    if (changed)
        error_wrap(err, "%s runs past its snapshot and can't go back to it", op->record.name);
    if (undone < 0) {
        log_error("instance %s: roll back its restore: %s", op->record.id, cause.message);
        /* Without a VMM the next operation puts the row right. */
        if (vm_process_alive(process))
            settle_unknown(op, cause.message, NULL);
    }
    return r;
}

static int run(struct operation *op, struct vm_process *process, const char *hostname,
               struct error *err)
{
    int r = let_run(op, process, err);
    if (r == 0)
        r = acknowledge(op, process, hostname, err);
    if (r == 0)
        r = watch_add(op->host->watch, op->record.id, process->pidfd, false, err);
    if (r == 0 && op->record.paged)
        watch_pager(op->host->watch, op->record.id);
    if (r == 0 && program_given(&op->record.program))
        watch_program(op->host->watch, op->record.id);
    return r;
}

/* On failure no VMM and no session is left. */
static int load_image(struct operation *op, struct vm_process *process, struct error *err)
{
    const struct hypervisor *hypervisor = operation_hypervisor(op);
    const struct vm_spec spec = operation_spec(op);
    struct vm_restore how = {.resume = false};
    int r = paged_begin(op, &how, err);
    if (r == 0)
        r = hypervisor->restore(hypervisor, &spec, &how, process, err);
    if (r < 0) {
        paged_explain(op, err);
        paged_end(op);
    }
    return r;
}

/* Nobody asked for a pager: where that does not do, a compressed image is expanded. */
static bool can_expand(const struct operation *op)
{
    struct stack_packed packed;
    return op->host->memory_backend == MEMORY_AUTO && memory_is_packed(op, &packed, NULL) > 0;
}

static int load_expanded(struct operation *op, struct vm_process *process, struct error *err)
{
    int r = memory_expand(op, err);
    if (r == 0)
        r = directory_clean_run(op, err);
    return r < 0 ? r : load_image(op, process, err);
}

static int load(struct operation *op, struct vm_process *process, struct error *err)
{
    struct error cause = {0};
    int r = prepare(op, err);
    if (r == 0)
        r = step("restore-prepared", err);
    if (r < 0)
        return r;
    r = load_image(op, process, &cause);
    if (r < 0 && can_expand(op)) {
        log_warning("instance %s: it did not load through a pager, its memory is expanded: %s",
                    op->record.id, cause.message);
        error_clear(&cause);
        r = load_expanded(op, process, &cause);
    }
    if (r < 0 && err)
        *err = cause;
    return r;
}

int restore_locked(struct operation *op, struct error *err)
{
    const struct instance_record before = op->record;
    /* A fork has the hostname of its source until it first wakes. */
    bool first = record_is_new_fork(&before);
    struct vm_process process = {.pidfd = -1};
    trace_phase(op, "load");
    int r = load(op, &process, err);
    if (r < 0) {
        op->record = before;
        return r;
    }
    operation_show(op, INSTANCE_PAUSED);
    r = run(op, &process, first ? op->record.name : NULL, err);
    if (r < 0)
        r = fail(op, &before, &process, r, err);
    else
        finish(op);
    process_release(&process);
    if (r == 0)
        operation_show(op, INSTANCE_RUNNING);
    return r;
}

int instance_restore(struct host *host, const char *reference, struct instance_record *record,
                     struct error *err)
{
    _cleanup_(operation) struct operation op = OPERATION_NONE;
    int r = operation_begin(host, reference, LOCK_EXCLUSIVE, &op, err);
    if (r < 0)
        return r;
    r = transition_check(OPERATION_RESTORE, &op.record, err);
    if (r > 0)
        r = traced(&op, "restore", restore_locked, err);
    if (r < 0)
        return r;
    operation_result(&op, record);
    return 0;
}
