/* SPDX-License-Identifier: Apache-2.0 */
/* What the sessions over a WebSocket have in common: waiting for both sides at once, taking in what
 * the client sends, and parting from it. */
#ifndef TINE_API_WEBSOCKET_PUMP_H
#define TINE_API_WEBSOCKET_PUMP_H

#include <poll.h>
#include <stdbool.h>

#include "api/websocket.h"
#include "api/websocket_upgrade.h"

struct websocket_pump {
    const struct websocket_session *connection;
    struct websocket *socket;
    bool client_gone;
};

enum { PUMP_CLIENT, PUMP_AGENT, PUMP_STOP, PUMP_COUNT };

/* Opens the WebSocket on the connection; messages go to `message` with `data`. */
int websocket_pump_open(struct websocket_pump *pump, const struct websocket_session *connection,
                        websocket_message *message, void *data, struct error *err);

/* Waits for the client and, if events of it are wanted, the agent; true if tined stops. */
bool websocket_pump_wait(const struct websocket_pump *pump, struct pollfd fds[PUMP_COUNT],
                         int agent_fd, short agent_events, int timeout_ms);
/* Takes messages in and writes what is queued, as poll's `revents` say. */
void websocket_pump_serve(struct websocket_pump *pump, short revents);
/* Serves the client until `*requested`, its first message; false if it went away or tined stops, or
 * nothing came within half a minute. */
bool websocket_pump_await(struct websocket_pump *pump, const bool *requested);

/* After the message that tells a client to end the connection: gives it a moment to do so first.
 * Some clients take a close of ours for a broken copy while they still write out the last file. */
void websocket_pump_linger(struct websocket_pump *pump);
/* The last messages go out, then the close frame, then the client is given a moment to close. Frees
 * the WebSocket. */
void websocket_pump_close(struct websocket_pump *pump);

#endif
