/* SPDX-License-Identifier: Apache-2.0 */
#include "agent/guest/oracle.h"

#include <errno.h>
#include <stddef.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>

#include "base/cleanup.h"
#include "base/unix_socket.h"

#define BACKLOG 16

/* No file system is needed for it, and no name stays behind. */
static const char abstract_name[] = "\0tine-oracle";

static socklen_t abstract_address(struct sockaddr_un *address)
{
    memset(address, 0, sizeof(*address));
    address->sun_family = AF_UNIX;
    memcpy(address->sun_path, abstract_name, sizeof(abstract_name) - 1);
    return (socklen_t)(offsetof(struct sockaddr_un, sun_path) + sizeof(abstract_name) - 1);
}

int oracle_listen(const char *path, struct error *err)
{
    if (path)
        return unix_listen(path, 0, err);
    struct sockaddr_un address;
    socklen_t length = abstract_address(&address);
    _cleanup_(close) int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (fd < 0 || bind(fd, (struct sockaddr *)&address, length) < 0 || listen(fd, BACKLOG) < 0)
        return error_errno(err, errno, NULL, "listen on the oracle's socket");
    return TAKE_FD(fd);
}

int oracle_connect(const char *path, struct error *err)
{
    if (path)
        return unix_connect(path, 0, err);
    struct sockaddr_un address;
    socklen_t length = abstract_address(&address);
    _cleanup_(close) int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (fd < 0 || connect(fd, (struct sockaddr *)&address, length) < 0)
        return error_errno(err, errno, NULL, "connect to the oracle's keeper");
    return TAKE_FD(fd);
}
