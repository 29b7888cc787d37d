/* SPDX-License-Identifier: Apache-2.0 */
#include "api/listen.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/file.h"
#include "base/log.h"
#include "base/unix_socket.h"

static char *directory_of(const char *path)
{
    const char *slash = strrchr(path, '/');
    if (!slash)
        return strdup(".");
    return slash == path ? strdup("/") : strndup(path, (size_t)(slash - path));
}

/* Opens and locks the directory of the socket. */
static int directory_lock(const char *path, struct error *err)
{
    _cleanup_(free) char *directory = directory_of(path);
    if (!directory)
        return error_errno(err, ENOMEM, path, "socket %s", path);
    int r = dir_make_all(directory, err);
    if (r < 0)
        return r;
    _cleanup_(close) int fd = dir_open(AT_FDCWD, directory, err);
    if (fd < 0)
        return fd;
    while (flock(fd, LOCK_EX) < 0) {
        if (errno != EINTR)
            return error_errno(err, errno, directory, "lock %s", directory);
    }
    return TAKE_FD(fd);
}

/* Makes room at the path: 0 if nothing is there or a dead socket was removed. */
static int stale_remove(const char *path, struct error *err)
{
    struct stat st;
    if (lstat(path, &st) < 0)
        return errno == ENOENT ? 0 : error_errno(err, errno, path, "stat %s", path);
    if (!S_ISSOCK(st.st_mode))
        return error_set(err, ERROR_SYSTEM, EADDRINUSE, "%s exists and is not a socket", path);
    int fd = unix_connect(path, SOCK_NONBLOCK, NULL);
    if (fd >= 0 || fd == -EAGAIN) {
        cleanup_close(&fd);
        return error_set(err, ERROR_SYSTEM, EADDRINUSE, "another tined answers on %s", path);
    }
    if (fd != -ECONNREFUSED)
        return error_errno(err, -fd, path, "connect to %s", path);
    log_info("%s is the socket of a tined that died: replaced", path);
    if (unlink(path) < 0)
        return error_errno(err, errno, path, "unlink %s", path);
    return 0;
}

int listen_claim(struct listen_claim *claim, const char *path, struct error *err)
{
    _cleanup_(close) int directory = directory_lock(path, err);
    if (directory < 0)
        return directory;
    int r = stale_remove(path, err);
    if (r < 0)
        return r;
    mode_t old = umask(0177); /* the socket must never be open to others, not even for a moment */
    _cleanup_(close) int fd = unix_listen(path, 0, err);
    umask(old);
    if (fd < 0)
        return fd;
    struct stat st;
    if (lstat(path, &st) < 0)
        return error_errno(err, errno, path, "stat %s", path);
    *claim = (struct listen_claim){.path = path, .device = st.st_dev, .inode = st.st_ino};
    return TAKE_FD(fd);
}

void listen_release(const struct listen_claim *claim)
{
    _cleanup_(close) int directory = directory_lock(claim->path, NULL);
    struct stat st;
    if (directory < 0 || lstat(claim->path, &st) < 0 || st.st_dev != claim->device ||
        st.st_ino != claim->inode)
        return;
    if (unlink(claim->path) < 0)
        log_warning("unlink %s: %s", claim->path, strerror(errno));
}
