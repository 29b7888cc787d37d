/* SPDX-License-Identifier: Apache-2.0 */
/* Create, in this order:
 *
 *   hold the source (for reading; a Running one for writing, and make a template of it, or put it
 *   into standby); the snapshot's directory under a temporary name, made of links; a VM of the
 *   template, or wake the source; let go of the source; have that VM write its memory, and link it
 *   (capture.h); the row, which takes the name; the directory under its own name.
 *
 * So a source of which a template can be made runs while its memory is written, and may be stopped
 * or deleted meanwhile. Those that ask for a Running source at the same time share its template or
 * nap, forks among them (source.h), and what is written. A row without its directory is a snapshot
 * in the making, or one half deleted: after a crash it is removed. The new snapshot's lock is held
 * from before the row, so nobody sees it half made. */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "base/clock.h"
#include "base/log.h"
#include "instance/capture.h"
#include "instance/compressor.h"
#include "instance/directory.h"
#include "instance/disks.h"
#include "instance/fork_files.h"
#include "instance/memory_image.h"
#include "instance/operation_log.h"
#include "instance/source.h"
#include "instance/trace.h"

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

static struct source_wish wish_of(const struct snapshot_create_request *request)
{
    bool standby = request->kind == INSTANCE_STANDBY;
    return (struct source_wish){.kind = standby ? OPERATION_SNAPSHOT_STANDBY
                                                : OPERATION_SNAPSHOT_STOPPED,
                                .memory = standby,
                                .running = standby,
                                .live = true};
}

/* Of the source as it is now: a nap has given it another memory image than it was asked with. */
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

/* A snapshot in the making. */
struct making {
    const struct snapshot_create_request *request;
    struct snapshot_operation *op;
    struct draft draft;
    struct capture *capture; /* its memory, if the source runs on */
    bool recorded;           /* there is a row: a failure has something to remove */
};

static int link_files(const struct operation *source, struct making *making, struct error *err)
{
    struct snapshot_operation *op = making->op;
    const struct live *live = source_live(source);
    const struct owner from = operation_owner(source), to = snapshot_owner(op);
    struct handover handover = {.from = &from,
                                .to = &to,
                                .draft = &making->draft,
                                .record = &op->record.source,
                                .memory = op->record.kind == INSTANCE_STANDBY && !live,
                                .disks = live ? &live->owner : NULL,
                                .stacks = disks_are_stacks(op->host, &op->record.source)};
    int r = draft_make_for(&to, &making->draft, err);
    if (r == 0)
        r = fork_files(&handover, err);
    op->record.size_bytes = handover.size_bytes;
    /* It is compressed already, however that was. */
    if (handover.memory && *handover.record->compression)
        memcpy(op->record.compression, handover.record->compression,
               sizeof(op->record.compression));
    return r < 0 ? r : step("snapshot-linked", err);
}

/* While the source is held. */
static int make(struct operation *source, void *context, struct error *err)
{
    struct making *making = context;
    struct snapshot_record *record = &making->op->record;
    trace_phase(source, "link");
    describe(source, making->request, record);
    int r = link_files(source, making, err);
    if (r < 0 || !source_live(source))
        return r;
    trace_phase(source, "child");
    return capture_take(source_live(source), source, record->compression, &making->capture, err);
}

/* When it is not held any more. */
static int take_memory(struct making *making, struct error *err)
{
    struct snapshot_operation *op = making->op;
    int r = capture_write(making->capture, &op->record.source, err);
    if (r < 0)
        return r;
    const struct owner from = capture_owner(making->capture), to = snapshot_owner(op);
    struct handover handover = {
        .from = &from, .to = &to, .draft = &making->draft, .record = &op->record.source};
    r = fork_memory(&handover, err);
    op->record.size_bytes += handover.size_bytes;
    return r < 0 ? r : step("snapshot-memory", err);
}

static int publish(struct making *making, struct error *err)
{
    struct snapshot_operation *op = making->op;
    const struct owner owner = snapshot_owner(op);
    int r = store_snapshot_insert(op->host->store, &op->record, err);
    if (r < 0)
        return r;
    making->recorded = true;
    r = step("snapshot-recorded", err);
    if (r == 0)
        r = draft_publish_for(&owner, &making->draft, err);
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

static void cleanup_making(struct making *making)
{
    cleanup_draft(&making->draft);
    capture_put(making->capture);
}

/* The source is held when it begins, and no more when it ends. */
static int create(struct operation *source, const struct source_wish *wish,
                  struct snapshot_operation *op, const struct snapshot_create_request *request,
                  struct error *err)
{
    _cleanup_(making) struct making making = {.request = request, .op = op, .draft.fd = -1};
    struct trace trace;
    trace_begin(&trace, source, "snapshot");
    snprintf(trace.note, sizeof(trace.note), "as %.64s",
             request->name ? request->name : op->record.id);
    int r = source_link(source, wish, source, make, &making, err);
    operation_log_prepare(source);
    operation_end(source);
    if (r == 0 && making.capture) {
        trace_phase(source, "memory");
        r = take_memory(&making, err);
    }
    trace_phase(source, "publish");
    if (r == 0)
        r = publish(&making, err);
    if (r < 0 && making.recorded)
        unmake(op);
    operation_look(source);
    return trace_end(&trace, r, err);
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
    const struct source_wish wish = wish_of(request);
    if (r == 0)
        r = source_begin(host, instance, &wish, &source, err);
    if (r == 0)
        r = check_name_free(host, request->name, &source.record, err);
    if (r < 0)
        return r;
    r = create(&source, &wish, &op, request, err);
    if (r == 0)
        finish(&op, record);
    return r;
}
