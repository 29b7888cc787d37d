/* SPDX-License-Identifier: Apache-2.0 */
/* One cp connection. */
#ifndef TINE_CLI_CP_WIRE_H
#define TINE_CLI_CP_WIRE_H

#include "api/websocket.h"
#include "cli/cp.h"

struct cp_wire {
    struct cp *cp;
    int fd;
    struct websocket *socket;
    bool over; /* nothing more is wanted: set by whoever takes the messages */
    struct failure failure;
    void (*text)(void *data, const json_t *message);
    void (*bytes)(void *data, const char *bytes, size_t length); /* NULL: dropped */
    void *data;
};

/* Connects and sends the first message, which it frees. The caller has filled cp, text, bytes and
 * data. Each of these returns 0, or an exit status and wire->failure. */
int cp_wire_open(struct cp_wire *wire, json_t *request);
/* Sends content, as fast as it is taken. */
int cp_wire_send(struct cp_wire *wire, const void *bytes, size_t length);
int cp_wire_send_json(struct cp_wire *wire, json_t *message);
/* Takes messages until it is over. */
int cp_wire_run(struct cp_wire *wire);
void cp_wire_close(struct cp_wire *wire);

#endif
