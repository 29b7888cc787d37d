/* SPDX-License-Identifier: Apache-2.0 */
/* TCP sockets by "HOST:PORT"; an IPv6 address stands in brackets: "[::1]:8080". Descriptors are
 * close-on-exec, and give up on a peer that vanished. ERROR_INVALID: the text is no such address.
 */
#ifndef TINE_BASE_TCP_SOCKET_H
#define TINE_BASE_TCP_SOCKET_H

#include "base/error.h"

#define TCP_NAME_SIZE 64

/* Binds and listens; port 0 takes a free one. Returns the descriptor or a negative errno. */
int tcp_listen(const char *address, struct error *err);
/* Connects to the first of the host's addresses that answers. Returns the descriptor or a negative
 * errno. */
int tcp_connect(const char *address, struct error *err);
/* The socket's own numeric address: "127.0.0.1:8080"; "?" if it has none. */
void tcp_name(int fd, char name[TCP_NAME_SIZE]);

#endif
