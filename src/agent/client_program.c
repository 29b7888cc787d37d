/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <stdlib.h>

#include "agent/client.h"
#include "agent/client_request.h"
#include "base/cleanup.h"
#include "base/clock.h"

#define NAME "start the program"

int agent_program_start(const char *vsock_path, unsigned timeout_ms,
                        const struct agent_exec *program, struct agent_exit *outcome,
                        struct error *err)
{
    _cleanup_(free) uint8_t *data = malloc(AGENT_FRAME_LIMIT);
    _cleanup_(free) struct agent_reply *reply = calloc(1, sizeof(*reply));
    if (!data || !reply)
        return error_errno(err, ENOMEM, vsock_path, NAME);
    struct agent_request request = {
        .vsock_path = vsock_path,
        .name = NAME,
        .type = AGENT_PROGRAM,
        .fields = {.data = data, .capacity = AGENT_FRAME_LIMIT},
        .deadline_ns = time_after_ms(timeout_ms),
    };
    int r = agent_exec_encode(program, &request.fields, err);
    if (r == 0)
        r = agent_request_run(&request, reply, err);
    if (r == 0 && agent_outcome_parse(outcome, &reply->frame) < 0)
        return error_set(err, ERROR_CORRUPT, EPROTO, NAME ": the agent's answer is malformed");
    return r;
}
