/* SPDX-License-Identifier: Apache-2.0 */
/* A double of warm.h: all that is wished for is ready at once. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

#include "double.h"
#include "instance/warm.h"

static void set(struct warm_status *warm, unsigned ready, struct warm_status *status)
{
    *warm = (struct warm_status){.wanted = ready, .ready = ready};
    if (ready > 0) {
        snprintf(warm->state, sizeof(warm->state), WARM_READY);
        warm->pinned_bytes = (ready + 1ull) << 20;
        warm->taken = 2;
        warm->missed = 1;
    }
    if (status)
        *status = *warm;
}

int instance_warm(struct host *host, const char *reference, unsigned ready,
                  struct warm_status *status, struct error *err)
{
    pthread_mutex_lock(&host->lock);
    struct entry *entry = double_resolve(host, reference, err);
    int r = entry ? 0 : -ENOENT;
    if (entry && ready > 0 && entry->record.state != INSTANCE_STANDBY)
        r = error_set(err, ERROR_STATE, EBUSY, "%s is %s, which does not allow this",
                      entry->record.name, instance_state_name(entry->record.state));
    if (r == 0)
        set(&entry->record.warm, ready, status);
    pthread_mutex_unlock(&host->lock);
    return r;
}

int snapshot_warm(struct host *host, const char *id, unsigned ready, struct warm_status *status,
                  struct error *err)
{
    struct snapshot_record *found = NULL;
    pthread_mutex_lock(&host->lock);
    for (size_t i = 0; i < host->snapshot_count && !found; i++) {
        if (strcmp(host->snapshots[i].id, id) == 0)
            found = &host->snapshots[i];
    }
    int r = found ? 0 : error_set(err, ERROR_NOT_FOUND, ENOENT, "no snapshot '%s'", id);
    if (r == 0 && ready > 0 && found->kind != INSTANCE_STANDBY)
        r = error_set(err, ERROR_STATE, EBUSY, "%s is of kind Stopped", id);
    if (r == 0)
        set(&found->warm, ready, status);
    pthread_mutex_unlock(&host->lock);
    return r;
}

static void add(struct warm_entry *entries, size_t *count, const char *id, const char *name,
                const struct warm_status *status, bool snapshot)
{
    struct warm_entry *entry = &entries[*count];
    if (status->wanted == 0)
        return;
    *entry = (struct warm_entry){.snapshot = snapshot, .status = *status};
    snprintf(entry->id, sizeof(entry->id), "%s", id);
    snprintf(entry->name, sizeof(entry->name), "%s", name);
    (*count)++;
}

int warm_list(struct host *host, struct warm_entry **entries, size_t *count, struct error *err)
{
    *count = 0;
    *entries = calloc(INSTANCES_MAX + SNAPSHOTS_MAX, sizeof(**entries));
    if (!*entries)
        return error_errno(err, ENOMEM, NULL, "list");
    pthread_mutex_lock(&host->lock);
    for (size_t i = 0; i < INSTANCES_MAX; i++) {
        const struct instance_record *record = &host->entries[i].record;
        if (host->entries[i].used)
            add(*entries, count, record->id, record->name, &record->warm, false);
    }
    for (size_t i = 0; i < host->snapshot_count; i++)
        add(*entries, count, host->snapshots[i].id, host->snapshots[i].name,
            &host->snapshots[i].warm, true);
    pthread_mutex_unlock(&host->lock);
    return 0;
}
