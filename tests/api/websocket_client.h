/* SPDX-License-Identifier: Apache-2.0 */
/* WebSocket frames written out by hand, valid and not. */
#ifndef TINE_TESTS_API_WEBSOCKET_CLIENT_H
#define TINE_TESTS_API_WEBSOCKET_CLIENT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "daemon.h"

enum { WS_CONTINUATION = 0, WS_TEXT = 1, WS_BINARY = 2, WS_CLOSE = 8, WS_PING = 9, WS_PONG = 10 };
#define WS_FIN 0x80u

/* The request that opens a WebSocket, for the exec route of an instance. Owner: caller. */
char *ws_handshake(const char *instance);
/* Opens an exec connection and checks the handshake's answer. */
int ws_open(const struct daemon *daemon, const char *instance);
/* The same for another route: "cp". */
int ws_open_route(const struct daemon *daemon, const char *instance, const char *route);

/* Sends one frame; `first` is FIN and opcode. */
void ws_send(int fd, uint8_t first, const void *payload, size_t length);
void ws_send_unmasked(int fd, uint8_t first, const void *payload, size_t length);
void ws_text(int fd, const char *text);

struct ws_frame {
    uint8_t first; /* FIN and opcode; 0: the connection ended */
    size_t length;
    char *payload; /* owned; a NUL behind it */
};
struct ws_frame ws_receive(int fd);

/* Reads to the end of an exec connection. */
struct ws_result {
    char *out, *err; /* owned; without the extension all is in `out` */
    size_t out_length, err_length;
    int exit_code; /* -1: none came */
    char *last_text;
    unsigned close_code; /* 0: no close frame */
    unsigned pongs;
    bool order_broken; /* something came behind the exit code that is no close */
};
struct ws_result ws_finish(int fd, bool streams);
void ws_release(struct ws_result *result);

/* Opens, sends the request, and reads to the end. */
struct ws_result ws_exec(const struct daemon *daemon, const char *instance, const char *request,
                         bool streams);

#endif
