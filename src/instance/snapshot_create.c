/* SPDX-License-Identifier: Apache-2.0 */
/* Create, in this order:
 *
 *   hold the source (for reading; a Running one for writing, and put it into standby); the
 *   snapshot's directory under a temporary name, made of links; the row, which takes the name; the
 *   directory under its own name; wake a source that was Running.
 *
 * A row without its directory is a snapshot in the making, or one half deleted: after a crash it is
 * removed. The new snapshot's lock is held from before the row, so nobody sees it half made. */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "base/clock.h"
#include "base/log.h"
#include "instance/compressor.h"
#include "instance/directory.h"
#include "instance/fork_files.h"
#include "instance/memory_image.h"
#include "instance/trace.h"
#include "instance/transition.h"

static int check_request(const struct snapshot_create_request *request, struct error *err)
{
    if (request->kind != INSTANCE_STANDBY && request->kind != INSTANCE_STOPPED)
        return error_set(err, ERROR_INVALID, EINVAL, "kind: %s; it must be Standby or Stopped",
                         instance_state_name(request->kind));
    if (request->name && !instance_name_valid(request->name))
        return error_set(err, ERROR_INVALID, EINVAL,
                         "name: '%.80s' is not a name: 1 to %d lowercase letters, digits and inner "
                         "hyphens",
                         request->name, INSTANCE_NAME_MAX);
    if (request->tags && strlen(request->tags) >= INSTANCE_TAGS_SIZE)
        return error_set(err, ERROR_INVALID, E2BIG, "tags: more than %d bytes in all",
                         INSTANCE_TAGS_SIZE - 1);
    if (request->compression && request->kind != INSTANCE_STANDBY)
        return error_set(err, ERROR_INVALID, EINVAL,
                         "compression: a snapshot of kind Stopped has no memory to compress");
    return request->compression ? stack_compression_check(request->compression, err) : 0;
}

/* As for a fork: a Running source is held for writing from its standby to its restore. */
static int hold_source(struct host *host, const char *reference, enum instance_state kind,
                       struct operation *source, struct error *err)
{
    int r = kind == INSTANCE_STANDBY ? memory_begin(host, reference, LOCK_SHARED, source, err)
                                     : operation_begin(host, reference, LOCK_SHARED, source, err);
    if (r == 0 && kind == INSTANCE_STANDBY && source->record.state == INSTANCE_RUNNING) {
        operation_end(source);
        r = memory_begin(host, reference, LOCK_EXCLUSIVE, source, err);
    }
    if (r == 0)
        r = transition_check(kind == INSTANCE_STANDBY ? OPERATION_SNAPSHOT_STANDBY
                                                      : OPERATION_SNAPSHOT_STOPPED,
                             &source->record, err);
    return r < 0 ? r : 0;
}

/* Checked before the source is put to sleep for nothing; store_snapshot_insert() decides. */
static int check_name_free(struct host *host, const char *name,
                           const struct instance_record *source, struct error *err)
{
    const struct snapshot_filter filter = {.name = name, .source_instance_id = source->id};
    _cleanup_(free) struct snapshot_record *records = NULL;
    size_t count = 0;
    int r = name ? store_snapshot_list(host->store, &filter, &records, &count, err) : 0;
    if (r == 0 && count > 0)
        return error_set(err, ERROR_NAME, EEXIST, "%s has a snapshot with the name '%s' already",
                         source->name, name);
    return r;
}

static void describe(const struct operation *source, const struct snapshot_create_request *request,
                     struct snapshot_record *record)
{
    record->kind = request->kind;
    record->created_at_ns = time_realtime_ns();
    record->source = source->record;
    snprintf(record->name, sizeof(record->name), "%s", request->name ? request->name : "");
    snprintf(record->tags, sizeof(record->tags), "%s", request->tags ? request->tags : "");
    const struct snapshot_policy policy = policies_snapshot(source->record.policies);
    const struct stack_compression *how =
        request->has_compression ? request->compression : policy_compression(source->host, &policy);
    if (how && request->kind == INSTANCE_STANDBY)
        stack_compression_format(how, record->compression);
}

static int link_files(const struct operation *source, struct snapshot_operation *op,
                      struct draft *draft, struct error *err)
{
    const struct owner from = operation_owner(source), to = snapshot_owner(op);
    struct handover handover = {.from = &from,
                                .to = &to,
                                .draft = draft,
                                .record = &op->record.source,
                                .memory = op->record.kind == INSTANCE_STANDBY};
    int r = draft_make_for(&to, draft, err);
    if (r == 0)
        r = fork_files(&handover, err);
    op->record.size_bytes = handover.size_bytes;
    return r < 0 ? r : step("snapshot-linked", err);
}

static int publish(struct snapshot_operation *op, struct draft *draft, struct error *err)
{
    const struct owner owner = snapshot_owner(op);
    int r = step("snapshot-recorded", err);
    if (r == 0)
        r = draft_publish_for(&owner, draft, err);
    return r < 0 ? r : step("snapshot-published", err);
}

/* Nothing is left of it. */
static void unmake(struct snapshot_operation *op)
{
    const struct owner owner = snapshot_owner(op);
    struct error cause = {0};
    if (owner_remove(&owner, op->host->store, store_snapshot_delete, &cause) < 0)
        log_error("snapshot %s: roll back its creation: %s", op->record.id, cause.message);
}

static int make(struct operation *source, struct snapshot_operation *op, struct error *err)
{
    _cleanup_(draft) struct draft draft = {.fd = -1};
    trace_phase(source, "link");
    int r = link_files(source, op, &draft, err);
    if (r == 0)
        r = store_snapshot_insert(op->host->store, &op->record, err);
    if (r < 0)
        return r;
    r = publish(op, &draft, err);
    if (r < 0)
        unmake(op);
    return r;
}

/* The source sleeps while its files are linked, and is woken whatever becomes of the snapshot. */
static int make_of_running(struct operation *source, struct snapshot_operation *op,
                           struct error *err)
{
    struct error wake = {0};
    trace_phase(source, "standby");
    int r = traced(source, "standby", standby_locked, err);
    if (r < 0)
        return r;
    r = make(source, op, err);
    trace_phase(source, "wake");
    int woken = traced(source, "restore", restore_locked, &wake);
    if (woken < 0 && r < 0)
        log_error("instance %s stays in standby: %s", source->record.id, wake.message);
    if (woken == 0 || r < 0)
        return r;
    unmake(op);
    return error_set(err, wake.code, wake.errnum,
                     "snapshot of %s: it could not be woken again and is now %s: %s",
                     source->record.name, instance_state_name(source->record.state), wake.message);
}

static void finish(struct snapshot_operation *op, struct snapshot_record *record)
{
    const struct owner owner = snapshot_owner(op);
    compressor_want(op->host->compressor, &owner, op->record.compression, 0);
    memory_look_snapshot(op->host, &op->record);
    if (record)
        *record = op->record;
}

int snapshot_create(struct host *host, const char *instance,
                    const struct snapshot_create_request *request, struct snapshot_record *record,
                    struct error *err)
{
    _cleanup_(snapshot_operation) struct snapshot_operation op = SNAPSHOT_OPERATION_NONE;
    _cleanup_(operation) struct operation source = OPERATION_NONE;
    int r = check_request(request, err);
    if (r == 0)
        r = snapshot_begin_new(host, &op, err);
    if (r == 0)
        r = hold_source(host, instance, request->kind, &source, err);
    if (r == 0)
        r = check_name_free(host, request->name, &source.record, err);
    if (r < 0)
        return r;
    describe(&source, request, &op.record);
    struct trace trace;
    trace_begin(&trace, &source, "snapshot");
    snprintf(trace.note, sizeof(trace.note), "as %.64s",
             *op.record.name ? op.record.name : op.record.id);
    r = source.record.state == INSTANCE_RUNNING ? make_of_running(&source, &op, err)
                                                : make(&source, &op, err);
    if (r == 0)
        finish(&op, record);
    return trace_end(&trace, r, err);
}
