/* SPDX-License-Identifier: Apache-2.0 */
/* Messages over one WebSocket connection (RFC 6455) on a descriptor, for both sides. The caller
 * polls; nothing here blocks. Fragments are put together, pings answered, masks checked. */
#ifndef TINE_API_WEBSOCKET_H
#define TINE_API_WEBSOCKET_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/error.h"

#define WEBSOCKET_MESSAGE_LIMIT (1u << 20) /* bytes; a longer message closes with 1009 */
#define WEBSOCKET_NORMAL        1000u
#define WEBSOCKET_GOING_AWAY    1001u

struct websocket;

/* Called for each whole text or binary message, inside websocket_receive(). */
typedef void websocket_message(void *data, bool text, const char *payload, size_t length);

struct websocket_options {
    int fd; /* borrowed; made non-blocking */
    bool server;
    const void *early; /* bytes that were read with the handshake; borrowed */
    size_t early_length;
    websocket_message *message;
    void *data;
};

struct websocket *websocket_new(const struct websocket_options *options, struct error *err);
void websocket_free(struct websocket *socket);

/* Stops or goes on taking in messages: back-pressure. After going on call websocket_receive(). */
void websocket_pause(struct websocket *socket, bool paused);

/* Reads what is there. Negative errno once the connection is lost or broken: -EPIPE when the peer
 * closed it, with or without a close frame. */
int websocket_receive(struct websocket *socket, struct error *err);
/* Queues one message. Does nothing after the close. */
int websocket_send(struct websocket *socket, bool text, const void *payload, size_t length);
/* Queues the close frame, which goes out before any message still queued: flush first. */
void websocket_close(struct websocket *socket, unsigned code);
/* Writes as much as the connection takes. Negative errno once it is lost. */
int websocket_flush(struct websocket *socket, struct error *err);

/* What to poll the descriptor for: POLLIN, POLLOUT. */
short websocket_events(const struct websocket *socket);
/* Bytes queued and not yet written. */
size_t websocket_queued(const struct websocket *socket);

/* The value of Sec-WebSocket-Accept for a client's key. */
#define WEBSOCKET_ACCEPT_SIZE 29
void websocket_accept(const char *key, char accept[WEBSOCKET_ACCEPT_SIZE]);
/* Base64 of 20 bytes or fewer; `text` holds WEBSOCKET_ACCEPT_SIZE bytes. */
void websocket_base64(const uint8_t *data, size_t length, char *text);

#endif
