/* SPDX-License-Identifier: Apache-2.0 */
#include "instance/memory_image.h"
#include "instance/warm_pools.h"

static void shown(struct host *host, struct snapshot_record *record)
{
    memory_look_snapshot(host, record);
    warm_look(host->warm, record->id, &record->warm);
}

int snapshot_get(struct host *host, const char *id, struct snapshot_record *record,
                 struct error *err)
{
    int r = store_snapshot_get(host->store, id, record, err);
    if (r == 0)
        shown(host, record);
    return r;
}

int snapshot_list(struct host *host, const struct snapshot_filter *filter,
                  struct snapshot_record **records, size_t *count, struct error *err)
{
    int r = store_snapshot_list(host->store, filter, records, count, err);
    for (size_t i = 0; r == 0 && i < *count; i++)
        shown(host, &(*records)[i]);
    return r;
}
