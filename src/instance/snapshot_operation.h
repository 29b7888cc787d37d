/* SPDX-License-Identifier: Apache-2.0 */
/* Inside the room: a snapshot in somebody's hands, as struct operation is for an instance. */
#ifndef TINE_INSTANCE_SNAPSHOT_OPERATION_H
#define TINE_INSTANCE_SNAPSHOT_OPERATION_H

#include "instance/owner.h"
#include "instance/snapshot.h"

/* Its lock, its row as it is known, its directory: <data_dir>/snapshots/<id> with boot/, disks/
 * and, for kind Standby, snapshot/. */
struct snapshot_operation {
    struct host *host;
    struct lock_hold hold;
    struct snapshot_record record;
    int fd;             /* -1: not made yet, or missing */
    uint64_t waited_ns; /* for the lock */
};

/* Waits for the lock, reads the row, opens the directory. */
int snapshot_begin(struct host *host, const char *id, enum lock_kind kind,
                   struct snapshot_operation *op, struct error *err);
/* The same without the directory: for delete and recovery. */
int snapshot_begin_raw(struct host *host, const char *id, enum lock_kind kind,
                       struct snapshot_operation *op, struct error *err);
/* Begins with a new snapshot: a fresh id, locked for writing; no row, no directory yet. */
int snapshot_begin_new(struct host *host, struct snapshot_operation *op, struct error *err);
/* Opens op->fd. */
int snapshot_open_directory(struct snapshot_operation *op, struct error *err);
/* Releases what it holds; safe to call twice. */
void snapshot_end(struct snapshot_operation *op);
/* For `_cleanup_(snapshot_operation) struct snapshot_operation op = SNAPSHOT_OPERATION_NONE;` */
static inline void cleanup_snapshot_operation(struct snapshot_operation *op)
{
    snapshot_end(op);
}
#define SNAPSHOT_OPERATION_NONE \
    {                           \
        .fd = -1                \
    }

struct owner snapshot_owner(const struct snapshot_operation *op);

/* The state that is to come of it: the one asked for, or the kind's default. A hypervisor that is
 * asked for takes the place of the source's in `op->record`. ERROR_INVALID or ERROR_UNSUPPORTED
 * names the part of the target that is wrong. */
int snapshot_target_check(struct snapshot_operation *op, const struct snapshot_target *target,
                          enum instance_state *state, struct error *err);

#endif
