/* SPDX-License-Identifier: Apache-2.0 */
/* Restore in place, in this order:
 *
 *   a guest directory under a temporary name, made of the snapshot's files; the row: Stopped, with
 *   the snapshot's configuration; the new directory and the old one change places (one rename);
 *   from there to the target, as a fork would; the old directory is removed.
 *
 * Until the target is reached the old directory waits under the temporary name, so every failure is
 * undone by changing places again. A tined that dies finds one of the two, whole, and sweeps the
 * other. Stopped is what the row may say of either: the directory tells if it is Standby
 * (settle.h), while a row that says Standby without snapshot/ would tell of a VM that was lost.
 * Nothing of the configuration that the files depend on ever changes in the life of an instance, so
 * row and directory fit whichever is there. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>

#include "base/log.h"
#include "instance/compressor.h"
#include "instance/directory.h"
#include "instance/disks.h"
#include "instance/fork.h"
#include "instance/fork_files.h"
#include "instance/memory_image.h"
#include "instance/program_run.h"
#include "instance/restart.h"
#include "instance/trace.h"
#include "instance/transition.h"
#include "instance/watch.h"

struct replacement {
    struct operation *op;
    struct instance_record before;
    struct draft draft; /* the new directory, then the old one */
    struct fork fork;   /* where it goes from there */
    bool recorded, exchanged;
};

static int check_belongs(const struct operation *op, const struct snapshot_operation *snapshot,
                         struct error *err)
{
    const struct snapshot_record *record = &snapshot->record;
    if (strcmp(record->source.id, op->record.id) == 0)
        return 0;
    return error_set(err, ERROR_INVALID, EINVAL, "snapshot %s is not of %s, but of %s (%s)",
                     record->id, op->record.name, record->source.name, record->source.id);
}

/* Of a crash in between the old directory may be left, and with it the memory that it slept with,
 * under a row that names another hypervisor. */
static int check_hypervisor(const struct operation *op, const struct snapshot_operation *snapshot,
                            struct error *err)
{
    const char *before = op->record.hypervisor, *after = snapshot->record.source.hypervisor;
    if (op->record.state != INSTANCE_STANDBY || strcmp(before, after) == 0)
        return 0;
    return error_set(
        err, ERROR_STATE, EBUSY,
        "%s sleeps under %s and can't go over to %s: it must wake and be stopped first",
        op->record.name, before, after);
}

/* Its identity stays, the rest is the snapshot's; it has not run yet. */
static void become(struct instance_record *record, const struct instance_record *source)
{
    memcpy(record->image, source->image, sizeof(record->image));
    memcpy(record->hypervisor, source->hypervisor, sizeof(record->hypervisor));
    memcpy(record->cmdline, source->cmdline, sizeof(record->cmdline));
    memcpy(record->disks, source->disks, sizeof(record->disks));
    record->disk_count = source->disk_count;
    record->vcpus = source->vcpus;
    record->memory_bytes = source->memory_bytes;
    record->has_initrd = source->has_initrd;
    record->skip_guest_agent = source->skip_guest_agent;
    record->state = INSTANCE_STOPPED;
    record->program = source->program;
    memcpy(record->cache_key, source->cache_key, sizeof(record->cache_key));
    record->memory_layers = source->memory_layers;
    memcpy(record->memory_top, source->memory_top, sizeof(record->memory_top));
    record->paged = false;
    program_forget_end(record);
    record->memory_method[0] = '\0';
    record->started_at_ns = record->stopped_at_ns = 0;
    record->memory_bytes_copied = record->disk_bytes_copied = 0;
    restart_reset(record);
    record_tidy(record);
}

static int link_files(struct replacement *replacement, const struct snapshot_operation *snapshot,
                      struct error *err)
{
    struct operation *op = replacement->op;
    const struct owner from = snapshot_owner(snapshot), to = operation_owner(op);
    struct handover handover = {.from = &from,
                                .to = &to,
                                .draft = &replacement->draft,
                                .record = &op->record,
                                .memory = replacement->fork.with_memory,
                                .stacks = disks_are_stacks(op->host, &op->record)};
    int r = draft_make(op, &replacement->draft, err);
    if (r == 0)
        r = fork_files(&handover, err);
    return r < 0 ? r : step("snapshot-restore-linked", err);
}

/* The logs are the instance's, not the snapshot's. They only tell: without them it works as well.
 */
static void keep_logs(const struct replacement *replacement)
{
    const struct operation *op = replacement->op;
    char old[INSTANCE_ID_LENGTH + 64];
    snprintf(old, sizeof(old), "%s/log", replacement->draft.name);
    if (renameat2(op->host->guests_fd, old, op->guest_fd, "log", RENAME_EXCHANGE) < 0)
        log_warning("instance %s: keep its logs: %s", op->record.id, strerror(errno));
}

/* op->guest_fd is the directory that is in place, before and after. */
static int change_places(struct replacement *replacement, struct error *err)
{
    struct operation *op = replacement->op;
    const struct owner owner = operation_owner(op);
    int r = draft_exchange(&owner, &replacement->draft, err);
    if (r < 0)
        return r;
    replacement->exchanged = !replacement->exchanged;
    close(TAKE_FD(op->guest_fd));
    r = operation_open_directory(op, err);
    if (r == 0)
        keep_logs(replacement);
    return r;
}

static int replace(struct replacement *replacement, struct error *err)
{
    struct operation *op = replacement->op;
    int r = store_update(op->host->store, &op->record, err);
    if (r < 0)
        return r;
    replacement->recorded = true;
    r = step("snapshot-restore-recorded", err);
    if (r == 0)
        r = change_places(replacement, err);
    if (r == 0)
        r = step("snapshot-restore-exchanged", err);
    if (r == 0)
        op->record.state = replacement->fork.with_memory ? INSTANCE_STANDBY : INSTANCE_STOPPED;
    return r;
}

static int put_back(struct replacement *replacement, struct error *err)
{
    struct operation *op = replacement->op;
    int r = kill_locked(op, err);
    if (r < 0)
        return r;
    watch_remove(op->host->watch, op->record.id);
    if (replacement->exchanged)
        r = change_places(replacement, err);
    op->record = replacement->before;
    if (r == 0 && replacement->recorded)
        r = store_update(op->host->store, &op->record, err);
    return r;
}

/* The end of it: the target, or the instance as it was. */
static int finish(struct replacement *replacement, int r, struct error *err)
{
    struct operation *op = replacement->op;
    struct error cause = {0};
    if (r == 0)
        r = fork_reach_target(op, &replacement->fork, err);
    if (r < 0 && put_back(replacement, &cause) < 0)
        log_error("instance %s: roll back a snapshot's restore: %s", op->record.id, cause.message);
    if (r == 0 && step("snapshot-restore-reached", &cause) < 0)
        log_warning("instance %s: %s", op->record.id, cause.message);
    return r;
}

static int restore_from(struct operation *op, const struct snapshot_operation *snapshot,
                        enum instance_state target, struct error *err)
{
    struct replacement replacement = {
        .op = op,
        .before = op->record,
        .draft = {.fd = -1},
        .fork = {.target = target,
                 .with_memory =
                     snapshot->record.kind == INSTANCE_STANDBY && target != INSTANCE_STOPPED},
    };
    struct trace trace;
    trace_begin(&trace, op, "snapshot-restore");
    snprintf(trace.note, sizeof(trace.note), "from %.64s", snapshot->record.id);
    trace_phase(op, "link");
    compressor_drop(op->host->compressor, op->record.id);
    become(&op->record, &snapshot->record.source);
    memcpy(op->record.compression, snapshot->record.compression, sizeof(op->record.compression));
    int r = link_files(&replacement, snapshot, err);
    if (r == 0)
        r = replace(&replacement, err);
    r = finish(&replacement, r, err);
    trace_phase(op, "remove");
    cleanup_draft(&replacement.draft);
    return trace_end(&trace, r, err);
}

/* 1: it may go on, to `state`. */
static int check(const struct operation *op, struct snapshot_operation *snapshot,
                 const struct snapshot_target *target, enum instance_state *state,
                 struct error *err)
{
    int r = check_belongs(op, snapshot, err);
    if (r == 0)
        r = snapshot_target_check(snapshot, target, state, err);
    if (r == 0)
        r = transition_check(OPERATION_SNAPSHOT_RESTORE, &op->record, err);
    if (r <= 0)
        return r;
    r = check_hypervisor(op, snapshot, err);
    return r < 0 ? r : 1;
}

int snapshot_restore(struct host *host, const char *instance, const char *id,
                     const struct snapshot_target *target, struct instance_record *record,
                     struct error *err)
{
    _cleanup_(operation) struct operation op = OPERATION_NONE;
    _cleanup_(snapshot_operation) struct snapshot_operation snapshot = SNAPSHOT_OPERATION_NONE;
    enum instance_state state = INSTANCE_STOPPED;
    bool cold = target->has_state && target->state == INSTANCE_STOPPED;
    int r = operation_begin(host, instance, LOCK_EXCLUSIVE, &op, err);
    if (r == 0)
        r = snapshot_begin(host, id, LOCK_SHARED, &snapshot, err);
    if (r == 0)
        r = check(&op, &snapshot, target, &state, err);
    if (r > 0 && !cold) { /* anew: nothing is expanded for what is refused */
        snapshot_end(&snapshot);
        r = memory_begin_snapshot(host, id, op.record.parent_id[0], &snapshot, err);
        if (r == 0)
            r = check(&op, &snapshot, target, &state, err);
    }
    if (r > 0)
        r = restore_from(&op, &snapshot, state, err);
    if (r < 0)
        return r;
    operation_result(&op, record);
    return 0;
}
