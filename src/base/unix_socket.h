/* SPDX-License-Identifier: Apache-2.0 */
/* Unix stream sockets by path, of any path length: a path that does not fit sun_path is reached
 * through a descriptor of its directory. Descriptors are close-on-exec. */
#ifndef TINE_BASE_UNIX_SOCKET_H
#define TINE_BASE_UNIX_SOCKET_H

#include "base/error.h"

/* Binds and listens. An existing file of that name is -EADDRINUSE; it is never unlinked here.
 * `flags` is 0 or SOCK_NONBLOCK. Returns the descriptor or a negative errno. */
int unix_listen(const char *path, int flags, struct error *err);
/* Connects. Returns the descriptor or a negative errno. With SOCK_NONBLOCK a full backlog is
 * -EAGAIN. */
int unix_connect(const char *path, int flags, struct error *err);

#endif
