/* SPDX-License-Identifier: Apache-2.0 */
#include "instance/memory_link.h"

#include <errno.h>
#include <string.h>

#include "hypervisor/hypervisor.h"

#define TARGET_SIZE 512 /* of what messages show; a longer one is cut */

/* 1: that name is a link, to `target`. */
static int find(int snapshot, const char *name, char target[TARGET_SIZE], struct error *err)
{
    ssize_t length = readlinkat(snapshot, name, target, TARGET_SIZE - 1);
    if (length < 0 && (errno == EINVAL || errno == ENOENT)) /* EINVAL: no link */
        return 0;
    if (length < 0)
        return error_errno(err, errno, name, "read link " GUEST_SNAPSHOT "/%s", name);
    target[length] = '\0';
    return 1;
}

static int refuse(const struct owner *owner, const char *name, const char *target,
                  struct error *err)
{
    bool instance = strcmp(owner->thing, "instance") == 0;
    const struct label label = owner_label(owner, GUEST_SNAPSHOT);
    return error_set(err, ERROR_STATE, ELOOP,
                     "%s/%s is a link to %s, another directory's file: it was made by a layout in "
                     "which a fork depended on its source, and its memory can't be restored; its "
                     "disks can still be booted: tine %s %s --target-state Stopped",
                     label.text, name, target, instance ? "fork" : "snapshot fork", owner->id);
}

int memory_link_refuse(const struct owner *owner, int snapshot, struct error *err)
{
    static const char *const names[] = {SNAPSHOT_MEMORY, SNAPSHOT_STATE};
    for (size_t i = 0; i < ARRAY_SIZE(names); i++) {
        char target[TARGET_SIZE];
        int r = find(snapshot, names[i], target, err);
        if (r != 0)
            return r < 0 ? r : refuse(owner, names[i], target, err);
    }
    return 0;
}

int memory_link_find(int snapshot, struct error *err)
{
    char target[TARGET_SIZE];
    return find(snapshot, SNAPSHOT_MEMORY, target, err);
}
