/* SPDX-License-Identifier: Apache-2.0 */
/* From an HTTP request to a WebSocket session with a running instance. */
#ifndef TINE_API_WEBSOCKET_UPGRADE_H
#define TINE_API_WEBSOCKET_UPGRADE_H

#include "api/request.h"

/* One connection after the upgrade. */
struct websocket_session {
    const struct server *server;
    const char *instance_id;
    int fd; /* the client's connection; borrowed */
    const void *early;
    size_t early_length;
};

/* What is spoken on the connection; runs in its own thread and may block. */
struct websocket_protocol {
    void (*run)(const struct websocket_session *session);
};

/* Refuses as HTTP what can't be a session: no such instance, not Running, no proper handshake. Else
 * upgrades. */
enum MHD_Result websocket_upgrade(struct request *request,
                                  const struct websocket_protocol *protocol);

#endif
