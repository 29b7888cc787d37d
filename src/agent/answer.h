/* SPDX-License-Identifier: Apache-2.0 */
/* The agent's last words on a connection, as the host reads them. The guest is hostile: numbers are
 * within their limits and text is fit for a terminal, or the answer is refused. */
#ifndef TINE_AGENT_ANSWER_H
#define TINE_AGENT_ANSWER_H

#include <stdbool.h>

#include "agent/protocol.h"

#define AGENT_MESSAGE_SIZE 512u

struct agent_exit {
    int code;   /* 0..255: 128 + signal if killed; 127 if it could not be started */
    int signal; /* that ended it, or 0 */
    bool timed_out;
    char message[AGENT_MESSAGE_SIZE]; /* why it could not be started; else empty */
};
/* Reads an AGENT_EXIT frame. -EPROTO if it is malformed or has no status. */
int agent_exit_parse(struct agent_exit *outcome, const struct agent_frame *frame);
/* The same where a status may be missing, as in the answer to PROGRAM: the code is -1 then. */
int agent_outcome_parse(struct agent_exit *outcome, const struct agent_frame *frame);

struct agent_failure {
    int errnum; /* a positive errno, whatever the guest says */
    char message[AGENT_MESSAGE_SIZE];
};
/* Reads an AGENT_FAILED frame. -EPROTO if it is malformed. */
int agent_failure_parse(struct agent_failure *failure, const struct agent_frame *frame);
/* Fills `err` with it: ERROR_UNSUPPORTED if the agent does not know the request, for it may be
 * older than we are. Returns the negative errno. */
int agent_failure_error(const struct agent_failure *failure, struct error *err);

#endif
