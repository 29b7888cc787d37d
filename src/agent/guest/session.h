/* SPDX-License-Identifier: Apache-2.0 */
/* One connection, served by a process of its own: a host that reads slowly, or a request that
 * takes long, holds up nobody else. */
#ifndef TINE_AGENT_GUEST_SESSION_H
#define TINE_AGENT_GUEST_SESSION_H

#include <stdbool.h>

struct program;

/* Reads the request on `fd` and serves it to its end. `machine`: we run a guest, and may set its
 * clock, rename it and power it off. `program`: the main program, NULL where there can't be one.
 * Returns when the connection may be closed. */
void session_run(int fd, bool machine, struct program *program);

/* Reports to the host over `fd` (a connection to AGENT_READY_PORT) who has booted. */
void session_report_ready(int fd);

/* Waits for the host to close, a while: closing first, with bytes of its unread, could reset the
 * connection and lose what it has not read yet. */
void session_linger(int fd);

#endif
