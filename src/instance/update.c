/* SPDX-License-Identifier: Apache-2.0 */
/* Update: the row alone, whatever the instance does; for writing, since an operation writes the
 * whole row too. */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "base/clock.h"
#include "instance/due.h"
#include "instance/lifetime.h"
#include "instance/trace.h"

static int check(const struct instance_changes *changes, struct error *err)
{
    if (changes->tags && strlen(changes->tags) >= INSTANCE_TAGS_SIZE)
        return error_set(err, ERROR_INVALID, E2BIG, "tags: more than %d bytes in all",
                         INSTANCE_TAGS_SIZE - 1);
    return 0;
}

/* It is as good as deleted. */
static int check_alive(const struct instance_record *record, struct error *err)
{
    char note[LIFETIME_NOTE];
    if (!lifetime_is_over(record))
        return 0;
    lifetime_note(record, note);
    return error_set(err, ERROR_EXPIRED, EBUSY, "%s %s and is being deleted", record->name, note);
}

static int change(struct instance_record *record, const struct instance_changes *changes,
                  struct error *err)
{
    int r = 0;
    if (changes->tags)
        snprintf(record->tags, sizeof(record->tags), "%s", changes->tags);
    if (changes->policies)
        r = policies_merge(record->policies, changes->policies, err);
    if (r == 0 && changes->lifetime)
        r = lifetime_begin(record, changes->lifetime, time_realtime_ns(), err);
    return r;
}

static int update_locked(struct operation *op, const struct instance_changes *changes,
                         struct error *err)
{
    struct instance_record changed = op->record;
    int r = step("update-begun", err);
    if (r == 0)
        r = change(&changed, changes, err);
    if (r == 0)
        r = store_update(op->host->store, &changed, err);
    if (r < 0)
        return r;
    op->record = changed;
    if (changes->lifetime)
        due_poke(op->host->expiry);
    return 0;
}

int instance_update(struct host *host, const char *reference,
                    const struct instance_changes *changes, struct instance_record *record,
                    struct error *err)
{
    char id[INSTANCE_ID_LENGTH + 1];
    _cleanup_(operation) struct operation op = OPERATION_NONE;
    int r = check(changes, err);
    if (r == 0)
        r = store_resolve(host->store, reference, id, err);
    if (r == 0)
        r = operation_begin_raw(host, id, LOCK_EXCLUSIVE, &op, err);
    if (r == 0)
        r = check_alive(&op.record, err);
    if (r < 0)
        return r;
    struct trace trace;
    trace_begin(&trace, &op, "update");
    trace_phase(&op, "record");
    r = trace_end(&trace, update_locked(&op, changes, err), err);
    if (r == 0)
        operation_result(&op, record);
    return r;
}
