/* SPDX-License-Identifier: Apache-2.0 */
/* How a command ended: from the agent's last frame to the connection's last message. */
#ifndef TINE_API_EXEC_EXIT_H
#define TINE_API_EXEC_EXIT_H

#include <stdbool.h>

#include "agent/protocol.h"
#include "api/websocket.h"

#define EXEC_EXIT_TIMED_OUT 124 /* as timeout(1) */

struct exec_exit {
    int code;   /* 0..255; 128 + signal if killed; 124 if its time was over */
    int signal; /* that ended it, or 0 */
    bool timed_out;
    char message[512]; /* why it could not be started; else empty */
};

/* Reads an AGENT_EXIT frame. -EPROTO if it is malformed or has no status. */
int exec_exit_parse(struct exec_exit *outcome, const struct agent_frame *frame);

/* Queues {"exitCode":N}; `extended` adds signal and timed_out under "tine". */
void exec_exit_send(struct websocket *socket, const struct exec_exit *outcome, bool extended);
/* Queues the answer to a first message that could not be used: an error with an exit code, since
 * clients take an end without one for success. */
void exec_exit_send_refusal(struct websocket *socket, const char *message);

#endif
