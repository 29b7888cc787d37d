/* SPDX-License-Identifier: Apache-2.0 */
/* Delete: kill the VMM, then remove the owner (owner.h). */
#include <stdio.h>

#include "instance/compressor.h"
#include "instance/owner.h"
#include "instance/restart.h"
#include "instance/settle.h"
#include "instance/trace.h"
#include "instance/watch.h"

int remove_locked(struct operation *op, struct error *err)
{
    const struct owner owner = operation_owner(op);
    compressor_drop(op->host->compressor, op->record.id);
    int r = step("delete-killed", err);
    if (r == 0)
        r = owner_remove(&owner, op->host->store, store_delete, err);
    if (r == 0)
        watch_remove(op->host->watch, op->record.id);
    op->removed = r == 0;
    return r;
}

int delete_locked(struct operation *op, const char *note, struct error *err)
{
    struct trace trace;
    trace_begin(&trace, op, "delete");
    snprintf(trace.note, sizeof(trace.note), "%s", note);
    trace_phase(op, "kill");
    int r = kill_locked(op, err);
    bool killed = r == 0;
    trace_phase(op, "remove");
    if (r == 0)
        r = remove_locked(op, err);
    /* Its VMM is gone all the same: the row must say so. */
    struct error cause = {0};
    restart_forbid(&op->record);
    if (r < 0 && killed && operation_open_directory(op, &cause) == 0)
        settle_without_vmm(op, "its VMM was ended by a delete that failed", &cause);
    if (r < 0 && *note)
        error_wrap(err, "%s", note);
    return trace_end(&trace, r, err);
}

int instance_delete(struct host *host, const char *reference, struct error *err)
{
    char id[INSTANCE_ID_LENGTH + 1];
    _cleanup_(operation) struct operation op = OPERATION_NONE;
    int r = store_resolve(host->store, reference, id, err);
    if (r == 0)
        r = operation_begin_raw(host, id, LOCK_EXCLUSIVE, &op, err);
    return r < 0 ? r : delete_locked(&op, "", err);
}
