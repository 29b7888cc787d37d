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

static int paths_make(struct run_directory *directory, char **lock_path, const char *run_dir,
                      const char *version, struct error *err)
{
    if (asprintf(&directory->path, "%s/pager/%s", run_dir, version) < 0)
        directory->path = NULL;
    if (!directory->path || asprintf(&directory->socket, "%s/control.sock", directory->path) < 0)
        directory->socket = NULL;
    if (!directory->path || asprintf(lock_path, "%s/lock", directory->path) < 0)
        *lock_path = NULL;
    return directory->socket && *lock_path ? 0 : error_errno(err, ENOMEM, NULL, "%s", run_dir);
}

int run_directory_open(struct run_directory *directory, const char *run_dir, const char *version,
                       struct error *err)
{
    _cleanup_(free) char *lock_path = NULL;
    *directory = (struct run_directory){.lock_fd = -1};
    int r = paths_make(directory, &lock_path, run_dir, version, err);
    if (r == 0)
        r = dir_make_all(directory->path, err);
    if (r == 0)
        r = directory->lock_fd = lock(lock_path, err);
    if (r >= 0 && unlink(directory->socket) < 0 && errno != ENOENT)
        r = error_errno(err, errno, directory->socket, "remove %s", directory->socket);
    if (r < 0) {
        cleanup_close(&directory->lock_fd);
        free(directory->path);
        free(directory->socket);
        return r;
    }
    return 0;
}

void run_directory_close(struct run_directory *directory)
{
    unlink(directory->socket); /* the next one removes what is left */
    cleanup_close(&directory->lock_fd);
    free(directory->path);
    free(directory->socket);
}
