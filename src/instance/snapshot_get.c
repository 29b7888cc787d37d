/* SPDX-License-Identifier: Apache-2.0 */
#include "instance/host.h"
#include "instance/snapshot.h"

int snapshot_get(struct host *host, const char *id, struct snapshot_record *record,
                 struct error *err)
{
    return store_snapshot_get(host->store, id, record, err);
}

int snapshot_list(struct host *host, const struct snapshot_filter *filter,
                  struct snapshot_record **records, size_t *count, struct error *err)
{
    return store_snapshot_list(host->store, filter, records, count, err);
}
