/* SPDX-License-Identifier: Apache-2.0 */
#include "instance/memory_image.h"
#include "instance/paged.h"
#include "instance/warm_pools.h"

/* As others may see it: an operation's passing state over the row's. */
static void shown(struct host *host, struct instance_record *record)
{
    lock_shown(host->locks, record->id, &record->state);
    record_tidy(record);
    memory_look(host, record);
    paged_look(host, record);
    warm_look(host->warm, record->id, &record->warm);
}

int instance_get(struct host *host, const char *reference, struct instance_record *record,
                 struct error *err)
{
    char id[INSTANCE_ID_LENGTH + 1];
    struct instance_record found;
    int r = store_resolve(host->store, reference, id, err);
    if (r == 0)
        r = store_get(host->store, id, &found, err);
    if (r < 0)
        return r;
    shown(host, &found);
    if (record)
        *record = found;
    return 0;
}

int instance_list(struct host *host, struct instance_record **records, size_t *count,
                  struct error *err)
{
    int r = store_list(host->store, records, count, err);
    for (size_t i = 0; r == 0 && i < *count; i++)
        shown(host, &(*records)[i]);
    return r;
}
