/* SPDX-License-Identifier: Apache-2.0 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#include "base/cleanup.h"
#include "base/failpoint.h"
#include "base/file.h"
#include "base/log.h"
#include "stack/stack.h"

#define TREE_DEPTH 16u /* guest directories are three deep */

static int sync_tree(int parent, const char *name, unsigned depth, struct error *err);

static int sync_file(int dirfd, const char *name, struct error *err)
{
    _cleanup_(close) int fd = openat(dirfd, name, O_RDONLY | O_NOFOLLOW | O_CLOEXEC | O_NONBLOCK);
    if (fd < 0)
        return error_errno(err, errno, name, "open %s", name);
    if (fsync(fd) < 0)
        return error_errno(err, errno, name, "sync %s", name);
    return 0;
}

/* Sockets, FIFOs and links have no content: their names are the directory's. */
static int sync_entry(int dirfd, const char *name, unsigned depth, struct error *err)
{
    struct stat st;
    if (fstatat(dirfd, name, &st, AT_SYMLINK_NOFOLLOW) < 0)
        return error_errno(err, errno, name, "stat %s", name);
    if (S_ISREG(st.st_mode))
        return sync_file(dirfd, name, err);
    if (S_ISDIR(st.st_mode))
        return sync_tree(dirfd, name, depth + 1, err);
    return 0;
}

static int sync_children(DIR *dir, const char *name, unsigned depth, struct error *err)
{
    const char *child;
    int r;
    while ((r = dir_next(dir, name, &child, err)) > 0) {
        r = sync_entry(dirfd(dir), child, depth, err);
        if (r < 0) {
            error_wrap(err, "in %s", name);
            return r;
        }
    }
    return r;
}

static int sync_tree(int parent, const char *name, unsigned depth, struct error *err)
{
    if (depth > TREE_DEPTH)
        return error_set(err, ERROR_INVALID, ELOOP, "sync %s: nested deeper than %u directories",
                         name, TREE_DEPTH);
    int fd = openat(parent, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    if (fd < 0)
        return error_errno(err, errno, name, "open directory %s", name);
    _cleanup_(closedir) DIR *dir = fdopendir(fd);
    if (!dir) {
        int saved = errno;
        close(fd);
        return error_errno(err, saved, name, "open directory %s", name);
    }
    int r = sync_children(dir, name, depth, err);
    return r < 0 ? r : dir_sync(fd, name, err);
}

int stack_sync_directory(int parent, const char *name, struct error *err)
{
    return sync_tree(parent, name, 0, err);
}

int stack_publish_directory(int parent, const char *temporary, const char *final, struct error *err)
{
    int r = sync_tree(parent, temporary, 0, err);
    if (r < 0) {
        error_wrap(err, "publish %s", final);
        return r;
    }
    return stack_publish_synced_directory(parent, temporary, final, err);
}

int stack_publish_synced_directory(int parent, const char *temporary, const char *final,
                                   struct error *err)
{
    int r = failpoint("stack-publish-before-rename");
    /* rename(2) replaces an empty directory and nothing else: ENOTEMPTY or ENOTDIR tell. */
    if (r == 0 && renameat(parent, temporary, parent, final) < 0)
        r = -errno;
    if (r < 0)
        return error_errno(err, -r, final, "publish %s: rename %s", final, temporary);
    r = failpoint("stack-publish-after-rename");
    if (r < 0)
        return error_errno(err, -r, final, "publish %s: sync its parent", final);
    return dir_sync(parent, final, err);
}

static int exchange(int parent, const char *temporary, const char *final, struct error *err)
{
    if (renameat2(parent, temporary, parent, final, RENAME_EXCHANGE) == 0)
        return 0;
    int r = error_errno(err, errno, final, "exchange %s and %s", temporary, final);
    if (err && (r == -EINVAL || r == -ENOSYS))
        err->code = ERROR_UNSUPPORTED;
    return r;
}

int stack_exchange_directories(int parent, const char *temporary, const char *final,
                               struct error *err)
{
    int r = sync_tree(parent, temporary, 0, err);
    if (r < 0) {
        error_wrap(err, "replace %s", final);
        return r;
    }
    r = exchange(parent, temporary, final, err);
    if (r < 0)
        return r;
    r = failpoint("stack-exchange-before-sync");
    r = r < 0 ? error_errno(err, -r, final, "replace %s: sync its parent", final)
              : dir_sync(parent, final, err);
    struct error undo = {0};
    if (r < 0 && exchange(parent, temporary, final, &undo) < 0)
        log_error("%s", undo.message);
    return r;
}
