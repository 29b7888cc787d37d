/* SPDX-License-Identifier: Apache-2.0 */
#include "agent/client_request.h"

#include <errno.h>

#include "agent/answer.h"
#include "agent/connect.h"
#include "base/cleanup.h"
#include "base/clock.h"

/* Turns AGENT_FAILED into an error with the guest's own words. */
static int reply_failed(const struct agent_request *request, const struct agent_frame *frame,
                        struct error *err)
{
    struct agent_failure failure;
    if (agent_failure_parse(&failure, frame) < 0)
        return error_set(err, ERROR_CORRUPT, EPROTO, "%s: the agent's answer is malformed",
                         request->name);
    int r = agent_failure_error(&failure, err);
    error_wrap(err, "%s", request->name);
    return r;
}

/* Sends the request on `fd` and reads its answer, whatever that is. -ECONNRESET or -EPIPE if the
 * connection is lost before. */
static int exchange(int fd, const struct agent_request *request, struct agent_reply *reply,
                    struct error *err)
{
    int r = agent_frame_write_until(fd, request->type, request->fields.data, request->fields.length,
                                    request->deadline_ns, err);
    if (r == 0)
        r = agent_frame_read_until(fd, reply->buffer, &reply->frame, request->deadline_ns, err);
    if (r == 0)
        return error_set(err, ERROR_SYSTEM, ECONNRESET, "the agent closed without an answer");
    return r < 0 ? r : 0;
}

static int reply_check(const struct agent_request *request, const struct agent_reply *reply,
                       struct error *err)
{
    if (reply->frame.type == AGENT_FAILED)
        return reply_failed(request, &reply->frame, err);
    if (reply->frame.type != AGENT_OK)
        return error_set(err, ERROR_CORRUPT, EPROTO, "%s: the agent answers with frame type %u",
                         request->name, reply->frame.type);
    return 0;
}

/* A restored guest resets its vsock connections once it runs, so also one that we made a moment too
 * early: a connection lost before the answer is worth another try. */
int agent_request_run(const struct agent_request *request, struct agent_reply *reply,
                      struct error *err)
{
    struct backoff backoff = {0};
    for (;;) {
        _cleanup_(close) int fd =
            vsock_connect_until(request->vsock_path, AGENT_PORT, request->deadline_ns, err);
        if (fd < 0) {
            error_wrap(err, "%s", request->name);
            return fd;
        }
        int r = exchange(fd, request, reply, err);
        if (r == 0)
            return reply_check(request, reply, err);
        if (r != -ECONNRESET && r != -EPIPE)
            return r;
        if (time_monotonic_ns() >= request->deadline_ns)
            return error_set(err, ERROR_TIMEOUT, ETIMEDOUT,
                             "%s: connections to the agent keep being lost", request->name);
        backoff_sleep(&backoff, request->deadline_ns);
    }
}

int agent_stream_open(const char *vsock_path, unsigned timeout_ms, uint8_t type,
                      const struct agent_fields *fields, struct error *err)
{
    uint64_t deadline = time_after_ms(timeout_ms);
    _cleanup_(close) int fd = vsock_connect_until(vsock_path, AGENT_PORT, deadline, err);
    if (fd < 0)
        return fd;
    int r = agent_frame_write_until(fd, type, fields->data, fields->length, deadline, err);
    return r < 0 ? r : TAKE_FD(fd);
}
