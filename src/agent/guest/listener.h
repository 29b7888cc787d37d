/* SPDX-License-Identifier: Apache-2.0 */
/* Where requests come from: the host over vsock, or (in tests) a unix socket. */
#ifndef TINE_AGENT_GUEST_LISTENER_H
#define TINE_AGENT_GUEST_LISTENER_H

#include "base/error.h"

/* Listens on AGENT_PORT, or on `unix_path` if it is not NULL. Returns a non-blocking descriptor. */
int listener_open(const char *unix_path, struct error *err);
/* Takes one connection; -EAGAIN if there is none, or none that may talk to us: over vsock only the
 * host (CID 2) may, a process of the guest itself could gain root by it. */
int listener_accept(int listener);
/* Connects to the host's AGENT_READY_PORT. Returns a descriptor. */
int listener_connect_host(struct error *err);

#endif
