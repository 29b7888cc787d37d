/* SPDX-License-Identifier: Apache-2.0 */
#ifndef TINE_AGENT_GUEST_EXEC_SESSION_H
#define TINE_AGENT_GUEST_EXEC_SESSION_H

#include <stdbool.h>

#include "agent/protocol.h"

/* Serves an EXEC request: runs the command, moves its streams, reports its end. If the connection
 * is lost, the host breaks the protocol, or we get SIGTERM, its process group is killed. Background
 * processes that outlive a command that ended by itself are left alone. */
void exec_session_run(int socket, const struct agent_frame *frame, bool machine);

#endif
