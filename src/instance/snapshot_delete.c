/* SPDX-License-Identifier: Apache-2.0 */
#include "instance/compressor.h"
#include "instance/snapshot_operation.h"

int snapshot_delete(struct host *host, const char *id, struct error *err)
{
    _cleanup_(snapshot_operation) struct snapshot_operation op = SNAPSHOT_OPERATION_NONE;
    int r = snapshot_begin_raw(host, id, LOCK_EXCLUSIVE, &op, err);
    if (r < 0)
        return r;
    compressor_drop(host->compressor, op.record.id);
    const struct owner owner = snapshot_owner(&op);
    return owner_remove(&owner, host->store, store_snapshot_delete, err);
}
