/* SPDX-License-Identifier: Apache-2.0 */
#include "instance/owner.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "base/file.h"
#include "base/log.h"
#include "instance/directory.h"

struct owner operation_owner(const struct operation *op)
{
    return (struct owner){.thing = "instance",
                          .id = op->record.id,
                          .parent = op->host->guests_fd,
                          .parent_path = op->host->guests_dir,
                          .fd = op->guest_fd};
}

struct label owner_label(const struct owner *owner, const char *name)
{
    struct label label;
    const char *slash = strrchr(owner->parent_path, '/');
    snprintf(label.text, sizeof(label.text), "%s/%s/%s", slash ? slash + 1 : owner->parent_path,
             owner->id, name);
    return label;
}

/* On a full disk SQLite may have no room to forget a row: the tree goes first then. */
static int remove_row(const struct owner *owner, struct store *store, owner_forget *forget,
                      const char *trash, struct error *err)
{
    int r = forget(store, owner->id, err);
    if (r != -ENOSPC || !trash)
        return r == -ENOENT ? 0 : r;
    r = tree_remove(owner->parent, trash, err);
    return r < 0 ? r : forget(store, owner->id, err);
}

/* The row could not be removed: the owner is whole again, if its tree is still there. */
static void put_back(const struct owner *owner, const char *trash)
{
    if (trash && renameat(owner->parent, trash, owner->parent, owner->id) < 0)
        log_error("%s %s: put back its directory: %s", owner->thing, owner->id, strerror(errno));
}

int owner_remove(const struct owner *owner, struct store *store, owner_forget *forget,
                 struct error *err)
{
    _cleanup_(free) char *trash = NULL;
    int r = directory_discard(owner, &trash, err);
    if (r < 0)
        return r;
    r = step("delete-renamed", err);
    if (r == 0)
        r = remove_row(owner, store, forget, trash, err);
    if (r < 0) {
        put_back(owner, trash);
        return r;
    }
    struct error cause = {0};
    r = step("delete-forgotten", &cause);
    if (r == 0 && trash)
        r = tree_remove(owner->parent, trash, &cause);
    if (r < 0)
        log_warning("%s %s is deleted; the rest goes at the next start: %s", owner->thing,
                    owner->id, cause.message);
    return 0;
}
