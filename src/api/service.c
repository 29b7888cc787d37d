/* SPDX-License-Identifier: Apache-2.0 */
#include "api/service.h"

#include <errno.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>

#include "base/cleanup.h"
#include "base/log.h"

void service_notify(const char *state)
{
    const char *path = getenv("NOTIFY_SOCKET");
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    if (!path || !*path)
        return;
    size_t length = strlen(path);
    if ((*path != '/' && *path != '@') || length >= sizeof(address.sun_path)) {
        log_warning("NOTIFY_SOCKET is not the address of a unix socket");
        return;
    }
    memcpy(address.sun_path, path, length);
    if (*path == '@')
        address.sun_path[0] = '\0'; /* an abstract name: its length says where it ends */
    socklen_t size = (socklen_t)(offsetof(struct sockaddr_un, sun_path) + length);
    _cleanup_(close) int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    if (fd < 0 ||
        sendto(fd, state, strlen(state), MSG_NOSIGNAL, (struct sockaddr *)&address, size) < 0)
        log_warning("tell the service manager \"%s\": %s", state, strerror(errno));
}
