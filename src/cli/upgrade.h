/* SPDX-License-Identifier: Apache-2.0 */
#ifndef TINE_CLI_UPGRADE_H
#define TINE_CLI_UPGRADE_H

#include "cli/http.h"

/* Opens a WebSocket to tined: the handshake of RFC 6455, section 4.1. Returns the
 * connection, just behind the handshake, or -1 and the failure. */
int websocket_connect(const struct cli *cli, const char *path, struct failure *failure);

#endif
