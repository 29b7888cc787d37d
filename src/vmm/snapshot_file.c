/* SPDX-License-Identifier: Apache-2.0 */
#include "vmm/snapshot_file.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/file.h"

/* A device or a directory given by mistake must not be renamed away. */
static int target_check(const char *path, struct error *err)
{
    struct stat st;
    if (lstat(path, &st) < 0)
        return errno == ENOENT ? 0 : error_errno(err, errno, path, "stat %s", path);
    if (!S_ISREG(st.st_mode) && !S_ISLNK(st.st_mode))
        return error_set(err, ERROR_INVALID, EEXIST, "%s is there and is not a regular file", path);
    return 0;
}

int snapshot_file_create(struct snapshot_file *file, const char *path, struct error *err)
{
    *file = SNAPSHOT_FILE_NONE;
    int r = target_check(path, err);
    if (r < 0)
        return r;
    file->path = path;
    file->temporary = temporary_name(path);
    if (!file->temporary)
        return error_errno(err, ENOMEM, path, "create %s", path);
    file->fd = open(file->temporary, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
    if (file->fd < 0)
        return error_errno(err, errno, path, "create %s", path);
    file->made = true;
    return 0;
}

int snapshot_file_open(struct snapshot_file *file, const char *path, uint64_t size,
                       struct error *err)
{
    struct stat st;
    *file = SNAPSHOT_FILE_NONE;
    int r = target_check(path, err);
    if (r < 0)
        return r;
    _cleanup_(close) int fd = open(path, O_RDWR | O_NOFOLLOW | O_CLOEXEC | O_NONBLOCK);
    if (fd < 0)
        return errno == ENOENT ? 0 : error_errno(err, errno, path, "open %s", path);
    if (fstat(fd, &st) < 0)
        return error_errno(err, errno, path, "stat %s", path);
    if ((uint64_t)st.st_size != size)
        return 0;
    if (st.st_nlink > 1)
        return error_set(err, ERROR_INVALID, EMLINK,
                         "%s has %llu names: a diff is not written into a file that others share",
                         path, (unsigned long long)st.st_nlink);
    file->path = path;
    file->fd = TAKE_FD(fd);
    file->in_place = true;
    return 1;
}

/* Given under two names of one place, the memory would be removed as the old state. */
static int refuse_same(const struct snapshot_file *state, const struct snapshot_file *memory,
                       struct error *err)
{
    struct stat a, b;
    if (fstat(memory->fd, &b) < 0)
        return error_errno(err, errno, memory->path, "stat %s", memory->path);
    if (lstat(state->path, &a) < 0)
        return errno == ENOENT ? 0 : error_errno(err, errno, state->path, "stat %s", state->path);
    if (a.st_dev == b.st_dev && a.st_ino == b.st_ino)
        return error_set(err, ERROR_INVALID, EINVAL, "%s and %s are the same file", state->path,
                         memory->path);
    return 0;
}

int snapshot_file_remove_old(const struct snapshot_file *state, const struct snapshot_file *memory,
                             struct error *err)
{
    int r = refuse_same(state, memory, err);
    if (r < 0)
        return r;
    if (unlink(state->path) < 0)
        return errno == ENOENT
                   ? 0
                   : error_errno(err, errno, state->path, "remove the old %s", state->path);
    return snapshot_file_sync_directory(state, err);
}

int snapshot_file_sync(struct snapshot_file *file, struct error *err)
{
    if (fsync(file->fd) < 0)
        return error_errno(err, errno, file->path, "sync %s", file->path);
    return 0;
}

int snapshot_file_set_aside(struct snapshot_file *file, struct error *err)
{
    _cleanup_(free) char *aside = temporary_name(file->path);
    if (!aside)
        return error_errno(err, ENOMEM, file->path, "set %s aside", file->path);
    if (rename(file->path, aside) < 0)
        return errno == ENOENT ? 0
                               : error_errno(err, errno, file->path, "set %s aside", file->path);
    file->aside = TAKE_PTR(aside);
    return 0;
}

/* The old file was set aside: what is at the path now is the other file of this snapshot, given
 * under two names of one place, or somebody else's. */
int snapshot_file_place(struct snapshot_file *file, struct error *err)
{
    int exists = file_exists(AT_FDCWD, file->path, err);
    if (exists > 0)
        return error_set(err, ERROR_INVALID, EEXIST,
                         "%s: another file has come to this path meanwhile", file->path);
    if (exists < 0)
        return exists;
    if (rename(file->temporary, file->path) < 0)
        return error_errno(err, errno, file->path, "rename %s to %s", file->temporary, file->path);
    file->made = false;
    file->placed = true;
    return 0;
}

int snapshot_file_sync_directory(const struct snapshot_file *file, struct error *err)
{
    const char *slash = strrchr(file->path, '/');
    if (!slash)
        return dir_sync(AT_FDCWD, ".", err);
    _cleanup_(free) char *parent =
        slash == file->path ? strdup("/") : strndup(file->path, (size_t)(slash - file->path));
    if (!parent)
        return error_errno(err, ENOMEM, file->path, "sync the directory of %s", file->path);
    _cleanup_(close) int fd = dir_open(AT_FDCWD, parent, err);
    return fd < 0 ? fd : dir_sync(fd, parent, err);
}

static void file_free(struct snapshot_file *file)
{
    cleanup_close(&file->fd);
    free(file->temporary);
    free(file->aside);
    *file = SNAPSHOT_FILE_NONE;
}

void snapshot_file_commit(struct snapshot_file *file)
{
    /* A leftover has a name that every sweep knows, and the snapshot is complete without this. */
    if (file->aside)
        (void)unlink(file->aside);
    file_free(file);
}

void snapshot_file_cancel(struct snapshot_file *file)
{
    /* The failure that led here is the one to tell; these steps undo as much as can be undone. */
    if (file->made)
        (void)unlink(file->temporary);
    if (file->aside)
        (void)rename(file->aside, file->path); /* over the new one, if that was placed */
    else if (file->placed)
        (void)unlink(file->path);
    file_free(file);
}
