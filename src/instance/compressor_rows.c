/* SPDX-License-Identifier: Apache-2.0 */
/* The wishes that a tined which went away has left in the rows. A delay has passed by then. */
#include "instance/compressor.h"
#include "instance/snapshot_operation.h"

static void want_instance(struct host *host, const struct instance_record *record)
{
    const struct owner owner = {.thing = "instance",
                                .id = record->id,
                                .parent = host->guests_fd,
                                .parent_path = host->guests_dir,
                                .fd = -1};
    if (record->state != INSTANCE_STANDBY)
        return;
    compressor_want(host->compressor, &owner, record->compression, 0);
    if (record->memory_layers > 0)
        compressor_compact(host->compressor, &owner);
}

static void want_snapshot(struct host *host, const struct snapshot_record *record)
{
    const struct owner owner = {.thing = "snapshot",
                                .id = record->id,
                                .parent = host->snapshots_fd,
                                .parent_path = host->snapshots_dir,
                                .fd = -1};
    compressor_want(host->compressor, &owner, record->compression, 0);
}

static int want_snapshots(struct host *host, struct error *err)
{
    const struct snapshot_filter all = {.name = NULL};
    _cleanup_(free) struct snapshot_record *records = NULL;
    size_t count = 0;
    int r = store_snapshot_list(host->store, &all, &records, &count, err);
    for (size_t i = 0; r == 0 && i < count; i++)
        want_snapshot(host, &records[i]);
    return r;
}

int compressor_want_all(struct host *host, struct error *err)
{
    _cleanup_(free) struct instance_record *records = NULL;
    size_t count = 0;
    int r = store_list(host->store, &records, &count, err);
    for (size_t i = 0; r == 0 && i < count; i++)
        want_instance(host, &records[i]);
    return r < 0 ? r : want_snapshots(host, err);
}
