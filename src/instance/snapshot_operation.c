/* SPDX-License-Identifier: Apache-2.0 */
#include "instance/snapshot_operation.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "base/clock.h"
#include "base/file.h"
#include "instance/compressor.h"
#include "instance/warm_pools.h"

static int begin(struct host *host, const char *id, enum lock_kind kind,
                 struct snapshot_operation *op, struct error *err)
{
    *op = (struct snapshot_operation){.host = host, .fd = -1};
    snprintf(op->record.id, sizeof(op->record.id), "%s", id);
    uint64_t begin_ns = time_monotonic_ns();
    int r = lock_take(host->locks, op->record.id, kind, &op->hold, err);
    op->waited_ns = time_monotonic_ns() - begin_ns;
    return r;
}

/* Looked up before the lock too: what is no id of ours is not locked. */
int snapshot_begin_raw(struct host *host, const char *id, enum lock_kind kind,
                       struct snapshot_operation *op, struct error *err)
{
    int r = store_snapshot_get(host->store, id, &op->record, err);
    if (r == 0)
        r = begin(host, id, kind, op, err);
    if (r == 0)
        r = store_snapshot_get(host->store, id, &op->record, err);
    if (r < 0)
        snapshot_end(op);
    return r;
}

int snapshot_begin(struct host *host, const char *id, enum lock_kind kind,
                   struct snapshot_operation *op, struct error *err)
{
    int r = snapshot_begin_raw(host, id, kind, op, err);
    if (r == 0)
        r = snapshot_open_directory(op, err);
    if (r < 0)
        snapshot_end(op);
    return r;
}

int snapshot_begin_new(struct host *host, struct snapshot_operation *op, struct error *err)
{
    char id[INSTANCE_ID_LENGTH + 1];
    int r = id_make(id, err);
    return r < 0 ? r : begin(host, id, LOCK_EXCLUSIVE, op, err);
}

int snapshot_open_directory(struct snapshot_operation *op, struct error *err)
{
    int fd = dir_open(op->host->snapshots_fd, op->record.id, err);
    if (fd < 0) {
        error_wrap(err, "snapshot %s", op->record.id);
        return fd;
    }
    op->fd = fd;
    return 0;
}

void snapshot_end(struct snapshot_operation *op)
{
    if (op->fd >= 0)
        close(op->fd);
    op->fd = -1;
    if (op->hold.table) {
        const bool wrote = op->hold.writing;
        lock_release(&op->hold);
        compressor_poke(op->host->compressor);
        if (wrote)
            warm_poke(op->host->warm, op->record.id);
    }
}

struct owner snapshot_owner(const struct snapshot_operation *op)
{
    return (struct owner){.thing = "snapshot",
                          .id = op->record.id,
                          .parent = op->host->snapshots_fd,
                          .parent_path = op->host->snapshots_dir,
                          .fd = op->fd};
}

static int check_state(const struct snapshot_record *record, enum instance_state state,
                       struct error *err)
{
    bool standby = record->kind == INSTANCE_STANDBY;
    if (state == INSTANCE_RUNNING || state == INSTANCE_STOPPED ||
        (standby && state == INSTANCE_STANDBY))
        return 0;
    return error_set(err, ERROR_INVALID, EINVAL,
                     "target_state: %s; of a snapshot of kind %s it must be %s",
                     instance_state_name(state), instance_state_name(record->kind),
                     standby ? "Running, Standby or Stopped" : "Stopped or Running");
}

/* A memory image belongs to the VMM that wrote it; disks do not. */
static int take_hypervisor(struct snapshot_operation *op, const char *name, struct error *err)
{
    if (op->record.kind == INSTANCE_STANDBY)
        return error_set(err, ERROR_INVALID, EINVAL,
                         "target_hypervisor: can't be chosen for a snapshot of kind Standby");
    const struct hypervisor *hypervisor;
    int r = host_hypervisor_find(op->host, "target_hypervisor", name, &hypervisor, err);
    if (r == 0)
        snprintf(op->record.source.hypervisor, sizeof(op->record.source.hypervisor), "%s",
                 hypervisor->name);
    return r;
}

int snapshot_target_check(struct snapshot_operation *op, const struct snapshot_target *target,
                          enum instance_state *state, struct error *err)
{
    bool standby = op->record.kind == INSTANCE_STANDBY;
    *state = target->has_state ? target->state : standby ? INSTANCE_RUNNING : INSTANCE_STOPPED;
    int r = check_state(&op->record, *state, err);
    return r < 0 || !target->hypervisor ? r : take_hypervisor(op, target->hypervisor, err);
}
