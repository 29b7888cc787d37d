/* SPDX-License-Identifier: Apache-2.0 */
/* Delete: remove the owner (owner.h). What an operator is told of it names the instance that the
 * snapshot was made of, which is not held and may be gone. */
#include <stdio.h>

#include "instance/compressor.h"
#include "instance/snapshot_operation.h"
#include "instance/trace.h"

static int remove_it(const struct snapshot_operation *op, struct error *err)
{
    const struct owner owner = snapshot_owner(op);
    compressor_drop(op->host->compressor, op->record.id);
    return owner_remove(&owner, op->host->store, store_snapshot_delete, err);
}

static int delete_traced(const struct snapshot_operation *op, struct error *err)
{
    const struct snapshot_record *record = &op->record;
    struct operation source = {
        .host = op->host, .record = record->source, .guest_fd = -1, .waited_ns = op->waited_ns};
    struct trace trace;
    trace_begin(&trace, &source, "snapshot-delete");
    snprintf(trace.note, sizeof(trace.note), "%s %.64s", *record->name ? "named" : "with id",
             *record->name ? record->name : record->id);
    trace_phase(&source, "remove");
    int r = remove_it(op, err);
    operation_look(&source);
    return trace_end(&trace, r, err);
}

int snapshot_delete(struct host *host, const char *id, struct error *err)
{
    _cleanup_(snapshot_operation) struct snapshot_operation op = SNAPSHOT_OPERATION_NONE;
    int r = snapshot_begin_raw(host, id, LOCK_EXCLUSIVE, &op, err);
    return r < 0 ? r : delete_traced(&op, err);
}
