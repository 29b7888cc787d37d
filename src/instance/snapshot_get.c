/* SPDX-License-Identifier: Apache-2.0 */
#include "instance/memory_image.h"

int snapshot_get(struct host *host, const char *id, struct snapshot_record *record,
                 struct error *err)
{
    int r = store_snapshot_get(host->store, id, record, err);
    if (r == 0)
        memory_look_snapshot(host, record);
    return r;
}

int snapshot_list(struct host *host, const struct snapshot_filter *filter,
                  struct snapshot_record **records, size_t *count, struct error *err)
{
    int r = store_snapshot_list(host->store, filter, records, count, err);
    for (size_t i = 0; r == 0 && i < *count; i++)
        memory_look_snapshot(host, &(*records)[i]);
    return r;
}
