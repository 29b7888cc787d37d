/* SPDX-License-Identifier: Apache-2.0 */
/* Waiting for the end of a guest's main program (AGENT_WATCH), without ever blocking: one thread
 * serves many guests, and none of them can hold it up. */
#ifndef TINE_AGENT_WATCH_H
#define TINE_AGENT_WATCH_H

#include <stddef.h>
#include <stdint.h>

#include "agent/answer.h"
#include "base/error.h"

#define AGENT_WATCH_LIMIT 1024u /* bytes of the answer; a longer one breaks the protocol */

enum agent_watch_stage {
    AGENT_WATCH_LINE,   /* the VMM's consent to the connection */
    AGENT_WATCH_HEADER, /* of the answer */
    AGENT_WATCH_PAYLOAD,
};

struct agent_watch {
    int fd; /* to poll for input; -1: not open */
    enum agent_watch_stage stage;
    size_t length; /* bytes of the stage so far */
    struct agent_frame frame;
    uint8_t header[AGENT_FRAME_HEADER];
    uint8_t data[AGENT_WATCH_LIMIT];
};

/* Begins to connect. A failure leaves it not open; a later try may do better. */
int agent_watch_open(struct agent_watch *watch, const char *vsock_path, struct error *err);
/* Takes what has come: 1 and `outcome` if the program is over, 0 not yet, a negative errno when the
 * connection is lost or the guest breaks the protocol; then it is to be closed. */
int agent_watch_take(struct agent_watch *watch, struct agent_exit *outcome, struct error *err);
/* After the outcome: what it said is recorded, the guest may power off. */
int agent_watch_taken(struct agent_watch *watch, struct error *err);
/* Safe to call twice. */
void agent_watch_close(struct agent_watch *watch);

#endif
