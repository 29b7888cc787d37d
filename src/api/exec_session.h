/* SPDX-License-Identifier: Apache-2.0 */
/* One exec connection after the upgrade: WebSocket messages on one side, agent frames on the
 * other. */
#ifndef TINE_API_EXEC_SESSION_H
#define TINE_API_EXEC_SESSION_H

#include "api/websocket_upgrade.h"

/* Runs until the command has ended and the client was told, the client went away (then the command
 * is killed), or tined stops. */
void exec_session_run(const struct websocket_session *connection);

#endif
