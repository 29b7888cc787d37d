/* SPDX-License-Identifier: Apache-2.0 */
/* Removing a directory with all that is in it. */
#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/file.h"

static int tree_remove_on(int dirfd, const char *name, dev_t device, struct error *err);

static int tree_remove_children(int fd, const char *name, dev_t device, struct error *err)
{
    _cleanup_(closedir) DIR *dir = NULL;
    const char *child;
    int r = dir_stream(fd, name, &dir, err);
    if (r < 0)
        return r;
    while ((r = dir_next(dir, name, &child, err)) > 0) {
        r = tree_remove_on(fd, child, device, err);
        if (r < 0)
            return error_wrap(err, "in %s", name);
    }
    return r;
}

static int tree_remove_on(int dirfd, const char *name, dev_t device, struct error *err)
{
    struct stat st;
    if (fstatat(dirfd, name, &st, AT_SYMLINK_NOFOLLOW) < 0)
        return errno == ENOENT ? 0 : error_errno(err, errno, name, "stat %s", name);
    if (!S_ISDIR(st.st_mode)) {
        if (unlinkat(dirfd, name, 0) < 0 && errno != ENOENT)
            return error_errno(err, errno, name, "remove %s", name);
        return 0;
    }
    if (device != 0 && st.st_dev != device)
        return error_set(err, ERROR_SYSTEM, EXDEV,
                         "remove %s: another file system is mounted there", name);
    _cleanup_(close) int fd = openat(dirfd, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    if (fd < 0)
        return errno == ENOENT ? 0 : error_errno(err, errno, name, "open directory %s", name);
    int r = tree_remove_children(fd, name, st.st_dev, err);
    if (r < 0)
        return r;
    if (unlinkat(dirfd, name, AT_REMOVEDIR) < 0 && errno != ENOENT)
        return error_errno(err, errno, name, "remove directory %s", name);
    return 0;
}

int tree_remove(int dirfd, const char *name, struct error *err)
{
    return tree_remove_on(dirfd, name, 0, err);
}
