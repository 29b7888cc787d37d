/* SPDX-License-Identifier: Apache-2.0 */
#include "instance/kit.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/file.h>
#include <sys/stat.h>

#include "base/file.h"

/* 1: both directories are of one file system. */
static int same_file_system(const struct host *host, const struct stack_file *from,
                            struct error *err)
{
    struct stat ours, theirs;
    if (fstat(host->guests_fd, &ours) < 0 || fstat(from->dirfd, &theirs) < 0)
        return error_errno(err, errno, from->label, "stat the directory of %s", from->label);
    return ours.st_dev == theirs.st_dev;
}

/* Opens <data_dir>/kit, locked: one request at a time looks and copies. The lock goes with the
 * descriptor, and each open has its own (flock(2)). */
static int copies_open(const struct host *host, struct error *err)
{
    _cleanup_(free) char *path = NULL;
    if (asprintf(&path, "%s/kit", host->data_dir) < 0) {
        path = NULL;
        return error_errno(err, ENOMEM, host->data_dir, "open %s/kit", host->data_dir);
    }
    int r = dir_make_all(path, err);
    if (r < 0)
        return r;
    _cleanup_(close) int fd = dir_open(AT_FDCWD, path, err);
    if (fd < 0)
        return fd;
    while (flock(fd, LOCK_EX) < 0) {
        if (errno != EINTR)
            return error_errno(err, errno, path, "lock %s", path);
    }
    return TAKE_FD(fd);
}

/* 1: the copy is of the kit's file as it is now. stack_copy() gives a copy its source's time. */
static int is_current(const struct stack_file *from, const struct stack_file *copy,
                      struct error *err)
{
    struct stat source, ours;
    if (fstatat(from->dirfd, from->name, &source, AT_SYMLINK_NOFOLLOW) < 0)
        return error_errno(err, errno, from->label, "stat %s", from->label);
    if (fstatat(copy->dirfd, copy->name, &ours, AT_SYMLINK_NOFOLLOW) < 0)
        return errno == ENOENT ? 0 : error_errno(err, errno, copy->label, "stat %s", copy->label);
    return ours.st_size == source.st_size && ours.st_mtim.tv_sec == source.st_mtim.tv_sec &&
           ours.st_mtim.tv_nsec == source.st_mtim.tv_nsec;
}

static int renew(const struct stack_file *from, const struct stack_file *copy, struct error *err)
{
    struct stack_result result;
    if (unlinkat(copy->dirfd, copy->name, 0) < 0 && errno != ENOENT)
        return error_errno(err, errno, copy->label, "remove the old %s", copy->label);
    int r = step("kit-removed", err);
    return r < 0 ? r : stack_copy(from, copy, &result, err);
}

int kit_share(const struct host *host, const struct stack_file *from, const struct stack_file *to,
              struct error *err)
{
    struct stack_result result;
    int r = same_file_system(host, from, err);
    if (r < 0)
        return r;
    if (r > 0)
        return stack_share(from, to, &result, err);
    _cleanup_(close) int copies = copies_open(host, err);
    if (copies < 0)
        return copies;
    char label[64];
    snprintf(label, sizeof(label), "kit/%s", from->name);
    const struct stack_file copy = {copies, from->name, label};
    r = is_current(from, &copy, err);
    if (r == 0)
        r = renew(from, &copy, err);
    return r < 0 ? r : stack_share(&copy, to, &result, err);
}
