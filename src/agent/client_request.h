/* SPDX-License-Identifier: Apache-2.0 */
/* Inside the client: one request and its one answer, or the stream that follows it. */
#ifndef TINE_AGENT_CLIENT_REQUEST_H
#define TINE_AGENT_CLIENT_REQUEST_H

#include "agent/client.h"
#include "agent/protocol.h"

/* One request that is answered by one frame; what is asked for may be done twice. */
struct agent_request {
    const char *vsock_path;
    const char *name; /* in messages */
    uint8_t type;
    struct agent_fields fields;
    uint64_t deadline_ns;
};
struct agent_reply {
    uint8_t buffer[AGENT_FRAME_LIMIT];
    struct agent_frame frame;
};

/* Asks until there is an AGENT_OK, which lands in `reply`. AGENT_FAILED is an error in the guest's
 * words. */
int agent_request_run(const struct agent_request *request, struct agent_reply *reply,
                      struct error *err);
/* Sends the request on a fresh connection, which it returns. */
int agent_stream_open(const char *vsock_path, unsigned timeout_ms, uint8_t type,
                      const struct agent_fields *fields, struct error *err);
/* A command as a request's fields. ERROR_INVALID if there is none, or it does not fit. */
int agent_exec_encode(const struct agent_exec *exec, struct agent_fields *fields,
                      struct error *err);

#endif
