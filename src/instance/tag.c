/* SPDX-License-Identifier: Apache-2.0 */
/* Tag: the row alone, whatever the instance does; for writing, since an operation writes the whole
 * row too. */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "instance/trace.h"

static int tag_locked(struct operation *op, const char *tags, struct error *err)
{
    struct instance_record changed = op->record;
    snprintf(changed.tags, sizeof(changed.tags), "%s", tags);
    int r = step("tag-begun", err);
    if (r == 0)
        r = store_update(op->host->store, &changed, err);
    if (r == 0)
        op->record = changed;
    return r;
}

int instance_tag(struct host *host, const char *reference, const char *tags,
                 struct instance_record *record, struct error *err)
{
    char id[INSTANCE_ID_LENGTH + 1];
    _cleanup_(operation) struct operation op = OPERATION_NONE;
    if (strlen(tags) >= INSTANCE_TAGS_SIZE)
        return error_set(err, ERROR_INVALID, E2BIG, "tags: more than %d bytes in all",
                         INSTANCE_TAGS_SIZE - 1);
    int r = store_resolve(host->store, reference, id, err);
    if (r == 0)
        r = operation_begin_raw(host, id, LOCK_EXCLUSIVE, &op, err);
    if (r < 0)
        return r;
    struct trace trace;
    trace_begin(&trace, &op, "tag");
    trace_phase(&op, "record");
    r = trace_end(&trace, tag_locked(&op, tags, err), err);
    if (r == 0)
        operation_result(&op, record);
    return r;
}
