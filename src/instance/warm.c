/* SPDX-License-Identifier: Apache-2.0 */
#include "instance/warm.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

#include "instance/snapshot_operation.h"
#include "instance/transition.h"
#include "instance/warm_pools.h"

static int check(const struct host *host, const char *hypervisor_name, unsigned ready,
                 struct error *err)
{
    const struct hypervisor *hypervisor = host_hypervisor(host, hypervisor_name);
    if (ready > WARM_READY_MAX)
        return error_set(err, ERROR_INVALID, EINVAL, "ready: %u forks; it must be at most %u",
                         ready, WARM_READY_MAX);
    if (ready > 0 && (!hypervisor || !hypervisor->template_make))
        return error_set(err, ERROR_UNSUPPORTED, ENOTSUP,
                         "ready: VMs of hypervisor %s can't be kept warm", hypervisor_name);
    return 0;
}

/* What is to end is waited for when no lock is held any more: the thread may wait for that. */
static void finish(struct host *host, const char *id, unsigned ready, struct warm_status *status)
{
    struct warm_status ignored;
    if (ready == 0)
        warm_wait_end(host->warm, id);
    warm_look(host->warm, id, status ? status : &ignored);
}

static int want_instance(struct host *host, const char *reference, unsigned ready,
                         struct warm_source *source, struct error *err)
{
    _cleanup_(operation) struct operation op = OPERATION_NONE;
    int r = operation_begin(host, reference, LOCK_SHARED, &op, err);
    if (r == 0)
        r = check(host, op.record.hypervisor, ready, err);
    if (r == 0 && ready > 0)
        r = transition_check(OPERATION_WARM, &op.record, err);
    if (r < 0)
        return r;
    snprintf(source->id, sizeof(source->id), "%s", op.record.id);
    return warm_want(host->warm, source, ready, err);
}

int instance_warm(struct host *host, const char *reference, unsigned ready,
                  struct warm_status *status, struct error *err)
{
    struct warm_source source = {.snapshot = false};
    int r = want_instance(host, reference, ready, &source, err);
    if (r == 0)
        finish(host, source.id, ready, status);
    return r;
}

static int want_snapshot(struct host *host, const char *id, unsigned ready, struct error *err)
{
    _cleanup_(snapshot_operation) struct snapshot_operation op = SNAPSHOT_OPERATION_NONE;
    struct warm_source source = {.snapshot = true};
    int r = snapshot_begin(host, id, LOCK_SHARED, &op, err);
    if (r == 0)
        r = check(host, op.record.source.hypervisor, ready, err);
    if (r == 0 && ready > 0 && op.record.kind != INSTANCE_STANDBY)
        r = error_set(err, ERROR_STATE, EBUSY,
                      "cannot keep %s warm: it is of kind Stopped and has no memory", id);
    if (r < 0)
        return r;
    snprintf(source.id, sizeof(source.id), "%s", op.record.id);
    return warm_want(host->warm, &source, ready, err);
}

int snapshot_warm(struct host *host, const char *id, unsigned ready, struct warm_status *status,
                  struct error *err)
{
    int r = want_snapshot(host, id, ready, err);
    if (r == 0)
        finish(host, id, ready, status);
    return r;
}

/* ---- the list ---- */

/* False: it is gone. */
static bool entry_fill(struct host *host, const struct store_warm *wish, struct warm_entry *entry)
{
    _cleanup_(free) struct snapshot_record *snapshot = calloc(1, sizeof(*snapshot));
    _cleanup_(free) struct instance_record *record = calloc(1, sizeof(*record));
    if (!snapshot || !record ||
        (wish->snapshot ? store_snapshot_get(host->store, wish->owner_id, snapshot, NULL)
                        : store_get(host->store, wish->owner_id, record, NULL)) < 0)
        return false;
    entry->snapshot = wish->snapshot;
    snprintf(entry->id, sizeof(entry->id), "%s", wish->owner_id);
    snprintf(entry->name, sizeof(entry->name), "%s",
             wish->snapshot ? snapshot->name : record->name);
    warm_look(host->warm, entry->id, &entry->status);
    return entry->status.wanted > 0;
}

int warm_list(struct host *host, struct warm_entry **entries, size_t *count, struct error *err)
{
    _cleanup_(free) struct store_warm *wishes = NULL;
    size_t wished = 0;
    int r = store_warm_list(host->store, &wishes, &wished, err);
    if (r < 0)
        return r;
    *count = 0;
    *entries = calloc(wished + 1, sizeof(**entries));
    if (!*entries)
        return error_errno(err, ENOMEM, NULL, "list what is kept warm");
    for (size_t i = 0; i < wished; i++)
        *count += entry_fill(host, &wishes[i], &(*entries)[*count]);
    return 0;
}
