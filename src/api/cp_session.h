/* SPDX-License-Identifier: Apache-2.0 */
/* One cp connection after the upgrade: WebSocket messages on one side, agent frames on the other.
 * No more than a few blocks of a file are in memory at a time: whichever side is slower holds up
 * the other. */
#ifndef TINE_API_CP_SESSION_H
#define TINE_API_CP_SESSION_H

#include "api/cp_request.h"
#include "api/frame_stream.h"
#include "api/websocket_pump.h"

/* Runs until everything is copied and the client was told, the client went away, or tined stops. */
void cp_session_run(const struct websocket_session *connection);

/* Inside: what both directions work on. */
struct cp_session {
    struct websocket_pump pump;
    struct frame_stream agent;
    struct cp_request request;
    struct problem problem; /* with the first message */
    bool requested;
    /* into the guest */
    bool ended;  /* the client has said all */
    bool paused; /* and waits for the guest */
    bool deaf;   /* the agent takes no more: it has something to say */
    bool settled;
    uint64_t bytes;
    char failure[1280]; /* once it is settled; "": it went well */
    /* out of the guest */
    struct agent_tree tree;
    bool end_pending; /* of an entry that may be the last */
    bool over;
    bool complete; /* and everything came */
};

void cp_in_message(struct cp_session *session, bool text, const char *payload, size_t length);
void cp_in_run(struct cp_session *session);
void cp_out_run(struct cp_session *session);

#endif
