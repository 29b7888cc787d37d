/* SPDX-License-Identifier: Apache-2.0 */
/* Delete, in this order: kill the VMM; rename the guest directory away; remove the row; remove the
 * tree. A tined that dies after the rename finds a row whose directory has a temporary name and
 * finishes; one that dies after the row finds a temporary name and sweeps it. A delete therefore
 * never leaves an instance with half a directory. */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "base/file.h"
#include "base/log.h"
#include "instance/directory.h"
#include "instance/host.h"
#include "instance/settle.h"
#include "instance/trace.h"
#include "instance/watch.h"

/* On a full disk SQLite may have no room to forget a row: the tree goes first then. */
static int remove_row(struct operation *op, const char *trash, struct error *err)
{
    int r = store_delete(op->host->store, op->record.id, err);
    if (r != -ENOSPC || !trash)
        return r == -ENOENT ? 0 : r;
    r = tree_remove(op->host->guests_fd, trash, err);
    return r < 0 ? r : store_delete(op->host->store, op->record.id, err);
}

/* The row could not be removed: the instance is whole again, if its tree is still there. */
static void put_back(struct operation *op, const char *trash)
{
    if (trash && renameat(op->host->guests_fd, trash, op->host->guests_fd, op->record.id) < 0)
        log_error("instance %s: put back its directory: %s", op->record.id, strerror(errno));
}

static int forget(struct operation *op, const char *trash, struct error *err)
{
    int r = step("delete-renamed", err);
    if (r == 0)
        r = remove_row(op, trash, err);
    if (r < 0)
        put_back(op, trash);
    return r;
}

int remove_locked(struct operation *op, struct error *err)
{
    _cleanup_(free) char *trash = NULL;
    int r = step("delete-killed", err);
    if (r == 0)
        r = directory_discard(op, &trash, err);
    if (r == 0)
        r = forget(op, trash, err);
    if (r < 0)
        return r;
    watch_remove(op->host->watch, op->record.id);
    op->removed = true;
    struct error cause = {0};
    r = step("delete-forgotten", &cause);
    if (r == 0 && trash)
        r = tree_remove(op->host->guests_fd, trash, &cause);
    if (r < 0)
        log_warning("instance %s is deleted; the rest goes at the next start: %s", op->record.id,
                    cause.message);
    return 0;
}

int instance_delete(struct host *host, const char *reference, struct error *err)
{
    char id[INSTANCE_ID_LENGTH + 1];
    _cleanup_(operation) struct operation op = OPERATION_NONE;
    int r = store_resolve(host->store, reference, id, err);
    if (r < 0)
        return r;
    r = operation_begin_raw(host, id, LOCK_EXCLUSIVE, &op, err);
    if (r < 0)
        return r;
    struct trace trace;
    trace_begin(&trace, &op, "delete");
    trace_phase(&op, "kill");
    r = kill_locked(&op, err);
    if (r < 0)
        return trace_end(&trace, r, err);
    trace_phase(&op, "remove");
    r = remove_locked(&op, err);
    /* Its VMM is gone all the same: the row must say so. */
    struct error cause = {0};
    if (r < 0 && operation_open_directory(&op, &cause) == 0)
        settle_without_vmm(&op, "its VMM was ended by a delete that failed", &cause);
    return trace_end(&trace, r, err);
}
