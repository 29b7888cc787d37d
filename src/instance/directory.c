/* SPDX-License-Identifier: Apache-2.0 */
#include "instance/directory.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/stat.h>

#include "base/file.h"
#include "base/log.h"
#include "stack/stack.h"

static int make_one(int dirfd, const char *name, struct error *err)
{
    if (mkdirat(dirfd, name, 0700) < 0)
        return error_errno(err, errno, name, "make directory %s", name);
    return 0;
}

int draft_make_for(const struct owner *owner, struct draft *draft, struct error *err)
{
    *draft = (struct draft){.parent = owner->parent, .fd = -1};
    draft->name = temporary_name(owner->id);
    if (!draft->name)
        return error_errno(err, ENOMEM, owner->parent_path, "make %s/%s", owner->parent_path,
                           owner->id);
    int r = make_one(owner->parent, draft->name, err);
    if (r < 0)
        return r;
    draft->fd = dir_open(owner->parent, draft->name, err);
    return draft->fd < 0 ? draft->fd : 0;
}

int draft_make(struct operation *op, struct draft *draft, struct error *err)
{
    const struct owner owner = operation_owner(op);
    int r = draft_make_for(&owner, draft, err);
    if (r == 0)
        r = make_one(draft->fd, "run", err);
    return r < 0 ? r : make_one(draft->fd, "log", err);
}

int draft_subdirectory(const struct draft *draft, const char *name, struct error *err)
{
    if (mkdirat(draft->fd, name, 0700) < 0 && errno != EEXIST)
        return error_errno(err, errno, name, "make directory %s", name);
    return dir_open(draft->fd, name, err);
}

int draft_publish_for(const struct owner *owner, struct draft *draft, struct error *err)
{
    int r = stack_publish_directory(owner->parent, draft->name, owner->id, err);
    if (r < 0) {
        error_wrap(err, "%s %s", owner->thing, owner->id);
        return r;
    }
    free(TAKE_PTR(draft->name));
    return 0;
}

int draft_publish(struct operation *op, struct draft *draft, struct error *err)
{
    const struct owner owner = operation_owner(op);
    int r = draft_publish_for(&owner, draft, err);
    return r < 0 ? r : operation_open_directory(op, err);
}

int draft_exchange(const struct owner *owner, const struct draft *draft, struct error *err)
{
    int r = stack_exchange_directories(owner->parent, draft->name, owner->id, err);
    if (r < 0)
        error_wrap(err, "%s %s", owner->thing, owner->id);
    return r;
}

void cleanup_draft(struct draft *draft)
{
    if (draft->fd >= 0)
        close(draft->fd);
    if (!draft->name)
        return;
    struct error err = {0};
    if (tree_remove(draft->parent, draft->name, &err) < 0)
        log_warning("a directory under a temporary name stays until the next start: %s",
                    err.message);
    free(draft->name);
}

int directory_discard(const struct owner *owner, char **trash, struct error *err)
{
    const char *path = owner->parent_path;
    *trash = NULL;
    _cleanup_(free) char *name = temporary_name(owner->id);
    if (!name)
        return error_errno(err, ENOMEM, path, "remove %s/%s", path, owner->id);
    if (renameat(owner->parent, owner->id, owner->parent, name) < 0)
        return errno == ENOENT ? 0 : error_errno(err, errno, path, "remove %s/%s", path, owner->id);
    *trash = TAKE_PTR(name);
    return dir_sync(owner->parent, path, err);
}

int directory_drop(struct operation *op, const char *name, struct error *err)
{
    const struct label label = operation_label(op, name);
    _cleanup_(free) char *trash = temporary_name(name);
    if (!trash)
        return error_errno(err, ENOMEM, label.text, "remove %s", label.text);
    if (renameat(op->guest_fd, name, op->guest_fd, trash) < 0)
        return errno == ENOENT ? 0 : error_errno(err, errno, label.text, "remove %s", label.text);
    int r = dir_sync(op->guest_fd, op->guest_dir, err);
    return r < 0 ? r : tree_remove(op->guest_fd, trash, err);
}

int directory_rename(struct operation *op, const char *from, const char *to, struct error *err)
{
    const struct label label = operation_label(op, from);
    if (renameat(op->guest_fd, from, op->guest_fd, to) < 0)
        return error_errno(err, errno, label.text, "rename %s to %s", label.text, to);
    return dir_sync(op->guest_fd, op->guest_dir, err);
}

int directory_clean_run(struct operation *op, struct error *err)
{
    int r = tree_remove(op->guest_fd, "run", err);
    return r < 0 ? r : make_one(op->guest_fd, "run", err);
}

static int sweep_in(struct operation *op, const char *name, struct error *err)
{
    int exists = file_exists(op->guest_fd, name, err);
    if (exists <= 0)
        return exists;
    const struct label label = operation_label(op, name);
    _cleanup_(close) int fd = dir_open(op->guest_fd, name, err);
    return fd < 0 ? fd : stack_sweep(fd, label.text, err);
}

int directory_sweep(struct operation *op, struct error *err)
{
    int r = stack_sweep(op->guest_fd, op->guest_dir, err);
    if (r >= 0) /* an unshare that was interrupted leaves its copy there */
        r = sweep_in(op, GUEST_BASE, err);
    if (r >= 0)
        r = sweep_in(op, GUEST_DISKS, err);
    return r < 0 ? r : 0;
}
