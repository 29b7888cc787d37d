/* SPDX-License-Identifier: Apache-2.0 */
#include "base/unix_socket.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/file.h"

/* Fills `address` for `path`; a long path goes through /proc/self/fd of its directory, whose
 * descriptor is returned in `dirfd` and must stay open until bind or connect is done. */
static int unix_address(const char *path, struct sockaddr_un *address, int *dirfd,
                        struct error *err)
{
    memset(address, 0, sizeof(*address));
    address->sun_family = AF_UNIX;
    *dirfd = -1;
    if (strlen(path) < sizeof(address->sun_path)) {
        memcpy(address->sun_path, path, strlen(path) + 1);
        return 0;
    }
    const char *slash = strrchr(path, '/');
    if (!slash)
        return error_errno(err, ENAMETOOLONG, path, "unix socket %s", path);
    _cleanup_(free) char *directory = strndup(path, (size_t)(slash - path));
    if (!directory)
        return error_errno(err, ENOMEM, path, "unix socket %s", path);
    _cleanup_(close) int fd = dir_open(AT_FDCWD, directory, err);
    if (fd < 0)
        return fd;
    int n = snprintf(address->sun_path, sizeof(address->sun_path), "/proc/self/fd/%d/%s", fd,
                     slash + 1);
    if (n < 0 || (size_t)n >= sizeof(address->sun_path))
        return error_errno(err, ENAMETOOLONG, path, "unix socket %s", path);
    *dirfd = TAKE_FD(fd);
    return 0;
}

/* A socket, and the address to use it with for as long as `*dirfd` is open. */
static int socket_make(const char *path, int flags, struct sockaddr_un *address, int *dirfd,
                       struct error *err)
{
    int r = unix_address(path, address, dirfd, err);
    if (r < 0)
        return r;
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | flags, 0);
    return fd < 0 ? error_errno(err, errno, path, "socket for %s", path) : fd;
}

int unix_listen(const char *path, int flags, struct error *err)
{
    struct sockaddr_un address;
    _cleanup_(close) int dirfd = -1;
    _cleanup_(close) int fd = socket_make(path, flags, &address, &dirfd, err);
    if (fd < 0)
        return fd;
    if (bind(fd, (struct sockaddr *)&address, sizeof(address)) < 0)
        return error_errno(err, errno, path, "bind %s", path);
    if (listen(fd, SOMAXCONN) < 0)
        return error_errno(err, errno, path, "listen on %s", path);
    return TAKE_FD(fd);
}

int unix_connect(const char *path, int flags, struct error *err)
{
    struct sockaddr_un address;
    _cleanup_(close) int dirfd = -1;
    _cleanup_(close) int fd = socket_make(path, flags, &address, &dirfd, err);
    if (fd < 0)
        return fd;
    while (connect(fd, (struct sockaddr *)&address, sizeof(address)) < 0) {
        if (errno != EINTR)
            return error_errno(err, errno, path, "connect to %s", path);
    }
    return TAKE_FD(fd);
}
