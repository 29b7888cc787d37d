/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <string.h>

#include "base/log.h"
#include "instance/memory_image.h"
#include "instance/recover.h"
#include "instance/strangers.h"
#include "stack/stack.h"

/* A snapshot is its directory: a row without it says nothing. */
static int recover_one(struct host *host, const char *id, struct error *err)
{
    _cleanup_(snapshot_operation) struct snapshot_operation op = SNAPSHOT_OPERATION_NONE;
    int r = snapshot_begin(host, id, LOCK_EXCLUSIVE, &op, err);
    const struct owner owner = snapshot_owner(&op);
    if (r == 0 && op.record.kind == INSTANCE_STANDBY)
        r = memory_settle(&owner, err);
    if (r != -ENOENT || op.fd >= 0)
        return r;
    error_clear(err);
    log_warning("snapshot %s: removed: it has no directory, so it was half-made or half-deleted",
                id);
    return store_snapshot_delete(host->store, id, err);
}

int recover_snapshots(struct host *host, struct error *err)
{
    const struct snapshot_filter all = {.name = NULL};
    _cleanup_(free) struct snapshot_record *records = NULL;
    size_t count = 0;
    int r = store_snapshot_list(host->store, &all, &records, &count, err);
    if (r < 0)
        return r;
    for (size_t i = 0; i < count; i++) {
        struct error cause = {0};
        if (recover_one(host, records[i].id, &cause) < 0)
            log_error("%s", cause.message);
    }
    int swept = stack_sweep(host->snapshots_fd, host->snapshots_dir, err);
    if (swept < 0)
        return swept;
    const struct known_rows known = {records, count, sizeof(*records),
                                     offsetof(struct snapshot_record, id)};
    return strangers_warn(host->snapshots_fd, host->snapshots_dir, "snapshot", &known, err);
}
