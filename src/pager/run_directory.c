/* SPDX-License-Identifier: Apache-2.0 */
#include "pager/run_directory.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/file.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/file.h"

static int lock(const char *path, struct error *err)
{
    _cleanup_(close) int fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
    if (fd < 0)
        return error_errno(err, errno, path, "open %s", path);
    if (flock(fd, LOCK_EX | LOCK_NB) == 0)
        return TAKE_FD(fd);
    if (errno == EWOULDBLOCK)
        return error_set(err, ERROR_STATE, EBUSY, "this version runs already: %s is locked", path);
    return error_errno(err, errno, path, "lock %s", path);
}

/* Owner: caller; NULL and `err` when out of memory. */
static char *join(const char *directory, const char *name, struct error *err)
{
    char *path = NULL;
    if (asprintf(&path, "%s/%s", directory, name) >= 0)
        return path;
    error_errno(err, ENOMEM, directory, "in %s", directory);
    return NULL;
}

static int lock_directory(struct run_directory *directory, struct error *err)
{
    int r = dir_make_all(directory->path, err);
    if (r < 0)
        return r;
    _cleanup_(free) char *lock_path = join(directory->path, "lock", err);
    directory->socket = join(directory->path, "control.sock", err);
    if (!lock_path || !directory->socket)
        return -ENOMEM;
    directory->lock_fd = lock(lock_path, err);
    if (directory->lock_fd < 0)
        return directory->lock_fd;
    if (unlink(directory->socket) < 0 && errno != ENOENT)
        return error_errno(err, errno, directory->socket, "remove %s", directory->socket);
    return 0;
}

int run_directory_open(struct run_directory *directory, const char *run_dir, const char *version,
                       struct error *err)
{
    *directory = (struct run_directory){.lock_fd = -1};
    _cleanup_(free) char *all = join(run_dir, "pager", err);
    directory->path = all ? join(all, version, err) : NULL;
    int r = directory->path ? lock_directory(directory, err) : -ENOMEM;
    if (r < 0) {
        cleanup_close(&directory->lock_fd);
        free(directory->path);
        free(directory->socket);
    }
    return r;
}

void run_directory_close(struct run_directory *directory)
{
    unlink(directory->socket); /* the next one removes what is left */
    cleanup_close(&directory->lock_fd);
    free(directory->path);
    free(directory->socket);
}
