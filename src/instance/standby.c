/* SPDX-License-Identifier: Apache-2.0 */
/* Running -> Standby, in this order (the promises are those of settle.h):
 *
 *   make a temporary directory, and move the retained base into it if it is to be merged (merge.h),
 *   or link it there if a layer is to come over it (layering.h); pause; save into that directory;
 * sync the disks; publish snapshot/; write the row; kill the VMM; drop base/.
 *
 * Until snapshot/ is published every failure is undone by resuming the VM. Publishing before the
 * kill costs nothing, since a paused VM changes neither memory nor disks, and it means that at no
 * moment both the VM and its image are gone. A tined that dies in between finds a paused VM with
 * snapshot/ (it kills it: Standby) or without (it resumes it: Running). The row is written before
 * the kill because it is the last step that can fail for want of space. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/file.h"
#include "base/log.h"
#include "instance/compressor.h"
#include "instance/directory.h"
#include "instance/disks.h"
#include "instance/host.h"
#include "instance/saving.h"
#include "instance/settle.h"
#include "instance/trace.h"
#include "instance/transition.h"
#include "instance/watch.h"
#include "stack/stack.h"

/* base/state means "not resumed yet" (promise 2): it must not be there when the VM is paused now. A
 * restore that could not remove it left it behind. */
static int remove_base_state(struct operation *op, struct error *err)
{
    const struct label label = operation_label(op, GUEST_BASE "/" SNAPSHOT_STATE);
    if (unlinkat(op->guest_fd, GUEST_BASE "/" SNAPSHOT_STATE, 0) == 0) {
        _cleanup_(close) int base = dir_open(op->guest_fd, GUEST_BASE, err);
        return base < 0 ? base : dir_sync(base, label.text, err);
    }
    return errno == ENOENT ? 0 : error_errno(err, errno, label.text, "remove %s", label.text);
}

/* The guest's memory remembers every write to its disks, also those it never flushed: after a power
 * cut both must be of the same moment. */
static int sync_disks(const struct operation *op, struct error *err)
{
    int r = disks_sync(op, err);
    return r < 0 ? r : step("standby-synced", err);
}

static int save(struct operation *op, struct saving *saving, struct error *err)
{
    int r = saving_write(op, saving, err);
    trace_phase(op, "publish");
    if (r == 0)
        r = sync_disks(op, err);
    if (r == 0)
        r = stack_publish_directory(op->guest_fd, saving->temporary, GUEST_SNAPSHOT, err);
    return r < 0 ? r : step("standby-published", err);
}

/* The pid stays in the row: should tined die before the kill, the next one finds the VMM by it. */
static int record_standby(struct operation *op, const struct saving *saving, struct error *err)
{
    const struct instance_record before = op->record;
    op->record.state = INSTANCE_STANDBY;
    op->record.stopped_at_ns = time_realtime_ns();
    op->record.paged = false;
    trace_phase(op, "record");
    int r = saving_record(saving, &op->record, err);
    if (r == 0)
        r = store_update(op->host->store, &op->record, err);
    if (r < 0)
        op->record = before;
    return r < 0 ? r : step("standby-recorded", err);
}

static int pause_and_save(struct operation *op, struct saving *saving, struct error *err)
{
    const struct hypervisor *hypervisor = operation_hypervisor(op);
    const struct vm_spec spec = operation_spec(op);
    trace_phase(op, "pause");
    int r = hypervisor->pause(hypervisor, &spec, err);
    if (r < 0)
        return r;
    operation_show(op, INSTANCE_PAUSED);
    r = step("standby-paused", err);
    if (r == 0)
        r = save(op, saving, err);
    return r < 0 ? r : record_standby(op, saving, err);
}

/* A VM that could not be paused runs already. */
static int make_run(struct operation *op, struct error *err)
{
    const struct hypervisor *hypervisor = operation_hypervisor(op);
    const struct vm_spec spec = operation_spec(op);
    char state[16] = "";
    int r = hypervisor->resume(hypervisor, &spec, err);
    if (r < 0 && hypervisor->query(hypervisor, &spec, state, NULL) == 0 &&
        strcmp(state, "Running") == 0)
        return 0;
    return r;
}

/* snapshot/ is no more, and what was in it is as if it had never been published. */
static int withdraw(struct operation *op, const struct saving *saving, struct error *err)
{
    int r = file_exists(op->guest_fd, GUEST_SNAPSHOT, err);
    return r <= 0 ? r : directory_rename(op, GUEST_SNAPSHOT, saving->temporary, err);
}

/* The VM goes on. What was written goes first: a running VM never has a snapshot/ (promise 1), so
 * if that can't be removed the VM stays paused and nobody may touch it. Without the base the next
 * standby writes all memory. */
static int undo(struct operation *op, const struct saving *saving,
                const struct instance_record *before, struct error *err)
{
    int r = withdraw(op, saving, err);
    if (r < 0)
        return r;
    struct error cause = {0};
    if (saving_undo(op, saving, &cause) < 0)
        log_warning("instance %s: %s", op->record.id, cause.message);
    bool row_changed = op->record.state != before->state;
    op->record = *before;
    r = row_changed ? store_update(op->host->store, before, err) : 0;
    if (r == 0)
        r = make_run(op, err);
    if (r == 0)
        operation_show(op, INSTANCE_RUNNING);
    return r;
}

/* Tells why it failed, and if the VM could not go on, that too. Returns `r`. */
static int fail(struct operation *op, const struct saving *saving,
                const struct instance_record *before, int r, struct error *err)
{
    struct error cause = {0};
    int undone = undo(op, saving, before, &cause);
    if (undone == 0)
        return r;
    struct vm_process process;
    bool alive = operation_process(op, &process) && !process_has_ended(&process, undone);
    process_release(&process);
    if (!alive) {
        error_wrap(err, "the VMM ended while %s went to standby", op->record.name);
        if (settle_without_vmm(op, "the VMM ended during a standby", &cause) == 0)
            return r;
    }
    char text[sizeof(op->record.state_error)];
    snprintf(text, sizeof(text), "paused by a standby that failed, and: %.400s", cause.message);
    if (settle_unknown(op, text, &cause) < 0)
        log_error("instance %s: %s", op->record.id, cause.message);
    return r;
}

/* From here on it is in Standby whatever happens; what stays is swept before the next restore. */
static int finish(struct operation *op, struct error *err)
{
    trace_phase(op, "kill");
    int r = kill_locked(op, err);
    if (r < 0) {
        settle_unknown(op, err ? err->message : "its VMM can't be killed", NULL);
        return r;
    }
    watch_remove(op->host->watch, op->record.id);
    struct error cause = {0};
    r = step("standby-killed", &cause);
    if (r == 0)
        r = directory_drop(op, GUEST_BASE, &cause);
    if (r == 0)
        r = directory_clean_run(op, &cause);
    if (r < 0)
        log_warning("instance %s in standby: %s", op->record.id, cause.message);
    disks_compact(op);
    return 0;
}

int standby_locked(struct operation *op, struct error *err)
{
    const struct instance_record before = op->record;
    _cleanup_(saving) struct saving saving = {.temporary = NULL};
    int r = saving_name(op, &saving, err);
    if (r == 0)
        r = directory_sweep(op, err);
    if (r == 0)
        r = remove_base_state(op, err);
    if (r < 0)
        return r;
    r = saving_prepare(op, &saving, err);
    if (r == 0)
        r = pause_and_save(op, &saving, err);
    if (r < 0)
        return fail(op, &saving, &before, r, err);
    saving_count(op, &saving);
    r = finish(op, err);
    if (r == 0)
        operation_show(op, INSTANCE_STANDBY);
    return r;
}

/* The row's wish: the request's, else the policy's, else the host's. Returns the delay. */
static uint64_t wish(struct operation *op, const struct standby_options *options)
{
    const struct snapshot_policy policy = policies_snapshot(op->record.policies);
    const struct stack_compression *how = policy_compression(op->host, &policy);
    if (options->has_compression)
        how = options->compression;
    op->record.compression[0] = '\0';
    if (how)
        stack_compression_format(how, op->record.compression);
    return options->has_delay ? options->compression_delay_ns : policy.standby_compression_delay_ns;
}

static int standby_and_want(struct operation *op, const struct standby_options *options,
                            struct error *err)
{
    const struct owner owner = operation_owner(op);
    uint64_t delay_ns = wish(op, options);
    int r = traced(op, "standby", standby_locked, err);
    if (r == 0)
        compressor_want(op->host->compressor, &owner, op->record.compression, delay_ns);
    if (r == 0 && op->record.memory_layers > 0)
        compressor_compact(op->host->compressor, &owner);
    return r;
}

/* To repeat standby is a success; `late_is_fine` says if that may be so here. */
static int standby(struct host *host, const char *reference, const struct standby_options *options,
                   bool late_is_fine, struct instance_record *record, struct error *err)
{
    _cleanup_(operation) struct operation op = OPERATION_NONE;
    int r = operation_begin(host, reference, LOCK_EXCLUSIVE, &op, err);
    if (r < 0)
        return r;
    r = transition_check(OPERATION_STANDBY, &op.record, err);
    if (r == 0 && !late_is_fine)
        r = error_set(err, ERROR_STATE, EBUSY, "%s is Standby already, options come too late",
                      op.record.name);
    if (r > 0)
        r = standby_and_want(&op, options, err);
    if (r < 0)
        return r;
    operation_result(&op, record);
    return 0;
}

int instance_standby(struct host *host, const char *reference, struct instance_record *record,
                     struct error *err)
{
    const struct standby_options none = {.has_compression = false};
    return standby(host, reference, &none, true, record, err);
}

int instance_standby_with(struct host *host, const char *reference,
                          const struct standby_options *options, struct instance_record *record,
                          struct error *err)
{
    int r = options->compression ? stack_compression_check(options->compression, err) : 0;
    return r < 0 ? r : standby(host, reference, options, false, record, err);
}
