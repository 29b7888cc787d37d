/* SPDX-License-Identifier: Apache-2.0 */
/* Fork of a snapshot: as the fork of an instance that sleeps (fork.c). The snapshot is held, for
 * reading, only for as long as its files are linked. */
#include <string.h>

#include "instance/fork.h"
#include "instance/memory_image.h"

static int fork_snapshot(struct host *host, const char *id, const struct snapshot_target *target,
                         struct operation *op, struct fork *fork, struct error *err)
{
    _cleanup_(snapshot_operation) struct snapshot_operation snapshot = SNAPSHOT_OPERATION_NONE;
    bool cold = target->has_state && target->state == INSTANCE_STOPPED;
    int r = cold ? snapshot_begin(host, id, LOCK_SHARED, &snapshot, err)
                 : memory_begin_snapshot(host, id, true, &snapshot, err);
    if (r == 0)
        r = snapshot_target_check(&snapshot, target, &fork->target, err);
    if (r < 0)
        return r;
    const struct owner from = snapshot_owner(&snapshot);
    memcpy(snapshot.record.source.compression, snapshot.record.compression,
           sizeof(snapshot.record.compression));
    fork_begin(op, fork, snapshot.waited_ns, snapshot.record.id);
    fork->with_memory =
        snapshot.record.kind == INSTANCE_STANDBY && fork->target != INSTANCE_STOPPED;
    return fork_make(&from, &snapshot.record.source, NULL, op, fork, err);
}

int snapshot_fork(struct host *host, const char *id, const char *name,
                  const struct snapshot_target *target, struct instance_record *record,
                  struct error *err)
{
    const struct instance_fork_request request = {.name = name};
    struct fork fork = {.request = &request};
    _cleanup_(operation) struct operation op = OPERATION_NONE;
    int r = fork_check(&request, err);
    if (r == 0)
        r = operation_begin_new(host, &op, err);
    if (r < 0)
        return r;
    r = fork_snapshot(host, id, target, &op, &fork, err);
    return fork_finish(&op, &fork, r, record, err);
}
