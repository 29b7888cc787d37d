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

int draft_make(struct operation *op, struct draft *draft, struct error *err)
{
    static const char *const rooms[] = {"run", "log", "boot", GUEST_DISKS};
    *draft = (struct draft){.host = op->host, .fd = -1};
    draft->name = temporary_name(op->record.id);
    if (!draft->name)
        return error_errno(err, ENOMEM, op->guest_dir, "make %s", op->guest_dir);
    int r = make_one(op->host->guests_fd, draft->name, err);
    if (r < 0)
        return r;
    draft->fd = dir_open(op->host->guests_fd, draft->name, err);
    if (draft->fd < 0)
        return draft->fd;
    for (size_t i = 0; r == 0 && i < ARRAY_SIZE(rooms); i++)
        r = make_one(draft->fd, rooms[i], err);
    return r;
}

int draft_subdirectory(const struct draft *draft, const char *name, struct error *err)
{
    if (mkdirat(draft->fd, name, 0700) < 0 && errno != EEXIST)
        return error_errno(err, errno, name, "make directory %s", name);
    return dir_open(draft->fd, name, err);
}

int draft_publish(struct operation *op, struct draft *draft, struct error *err)
{
    int r = stack_publish_directory(op->host->guests_fd, draft->name, op->record.id, err);
    if (r < 0) {
        error_wrap(err, "instance %s", op->record.name);
        return r;
    }
    free(TAKE_PTR(draft->name));
    return operation_open_directory(op, err);
}

void cleanup_draft(struct draft *draft)
{
    if (draft->fd >= 0)
        close(draft->fd);
    if (!draft->name)
        return;
    struct error err = {0};
    if (tree_remove(draft->host->guests_fd, draft->name, &err) < 0)
        log_warning("a half-made guest directory stays until the next start: %s", err.message);
    free(draft->name);
}

int directory_discard(struct operation *op, char **trash, struct error *err)
{
    struct host *host = op->host;
    *trash = NULL;
    _cleanup_(free) char *name = temporary_name(op->record.id);
    if (!name)
        return error_errno(err, ENOMEM, op->guest_dir, "remove %s", op->guest_dir);
    if (renameat(host->guests_fd, op->record.id, host->guests_fd, name) < 0)
        return errno == ENOENT ? 0
                               : error_errno(err, errno, op->guest_dir, "remove %s", op->guest_dir);
    *trash = TAKE_PTR(name);
    return dir_sync(host->guests_fd, host->guests_dir, err);
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

int directory_sweep(struct operation *op, struct error *err)
{
    int r = stack_sweep(op->guest_fd, op->guest_dir, err);
    return r < 0 ? r : 0;
}
