/* SPDX-License-Identifier: Apache-2.0 */
/* How a command ended, as the connection's last message says it. */
#ifndef TINE_API_EXEC_EXIT_H
#define TINE_API_EXEC_EXIT_H

#include <stdbool.h>

#include "agent/answer.h"
#include "api/websocket.h"

#define EXEC_EXIT_TIMED_OUT 124 /* as timeout(1) */

/* Queues {"exitCode":N}, 124 if the command's time was over; `extended` adds signal and timed_out
 * under "tine". */
void exec_exit_send(struct websocket *socket, const struct agent_exit *outcome, bool extended);
/* Queues the answer to a first message that could not be used: an error with an exit code, since
 * clients take an end without one for success. */
void exec_exit_send_refusal(struct websocket *socket, const char *message);

#endif
