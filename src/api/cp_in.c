/* SPDX-License-Identifier: Apache-2.0 */
/* Into the guest: the client's messages become DATA and END, the agent's answer the result. */
#include <stdio.h>
#include <string.h>

#include "api/cp_message.h"
#include "api/cp_session.h"
#include "api/json_text.h"
#include "api/server.h"
#include "base/cleanup.h"
#include "instance/instance.h"

#define QUEUE_LIMIT (256u << 10)

static void queue_drop(struct cp_session *session)
{
    session->agent.out_length = session->agent.out_sent = 0;
}

/* What comes from the client from now on is dropped: it reads the result only when it has sent
 * everything. */
static void settle(struct cp_session *session, const char *failure)
{
    if (session->settled)
        return;
    session->settled = true;
    snprintf(session->failure, sizeof(session->failure), "%s", failure);
    queue_drop(session);
}

static void queue(struct cp_session *session, uint8_t type, const char *payload, size_t length)
{
    if (session->settled || session->deaf)
        return;
    if (frame_stream_queue(&session->agent, type, payload, length) < 0)
        settle(session, "out of memory");
}

void cp_in_message(struct cp_session *session, bool text, const char *payload, size_t length)
{
    if (session->ended)
        return;
    if (text) {
        _cleanup_(json) json_t *json = json_loadb(payload, length, 0, NULL);
        const char *type = json_string_value(json_object_get(json, "type"));
        session->ended = type && strcmp(type, "end") == 0;
        if (session->ended)
            queue(session, AGENT_END, NULL, 0);
    } else if (length > 0) {
        session->bytes += length;
        queue(session, AGENT_DATA, payload, length);
    }
    if (frame_stream_queued(&session->agent) > QUEUE_LIMIT) {
        session->paused = true;
        websocket_pause(session->pump.socket, true);
    }
}

static void serve_frame(struct cp_session *session, const struct agent_frame *frame)
{
    struct agent_failure failure;
    struct error err = {0};
    /* An agent that hung up (deaf) has not got what was dropped for it. */
    bool sent = session->ended && !session->deaf && frame_stream_queued(&session->agent) == 0;
    if (frame->type == AGENT_OK && sent) {
        settle(session, "");
    } else if (frame->type == AGENT_FAILED && agent_failure_parse(&failure, frame) == 0) {
        agent_failure_error(&failure, &err);
        settle(session, err.message);
    } else {
        settle(session, "the guest's agent broke the protocol");
    }
}

static void serve_agent(struct cp_session *session, short revents)
{
    if ((revents & POLLOUT) != 0 && frame_stream_flush(&session->agent) < 0) {
        session->deaf = true;
        queue_drop(session);
    }
    if ((revents & (POLLIN | POLLHUP | POLLERR)) == 0)
        return;
    int filled = frame_stream_fill(&session->agent);
    struct agent_frame frame;
    int r = frame_stream_next(&session->agent, &frame);
    if (r > 0)
        serve_frame(session, &frame);
    else if (r < 0)
        settle(session, "the guest's agent broke the protocol");
    else if (filled < 0)
        settle(session, "the guest's agent closed the connection");
}

/* Content beyond the limit waits in the connection; once there is room again it is taken up. */
static void resume(struct cp_session *session)
{
    if (!session->paused || frame_stream_queued(&session->agent) > QUEUE_LIMIT)
        return;
    session->paused = false;
    websocket_pause(session->pump.socket, false);
    websocket_pump_serve(&session->pump, POLLIN);
}

static void pump(struct cp_session *session)
{
    while (!session->pump.client_gone && !(session->ended && session->settled)) {
        bool queued = frame_stream_queued(&session->agent) > 0;
        short wanted = session->settled ? 0 : (short)(POLLIN | (queued ? POLLOUT : 0));
        struct pollfd fds[PUMP_COUNT];
        if (websocket_pump_wait(&session->pump, fds, session->agent.fd, wanted, -1)) {
            settle(session, "tined is stopping");
            return;
        }
        if (fds[PUMP_AGENT].revents)
            serve_agent(session, fds[PUMP_AGENT].revents);
        if (fds[PUMP_CLIENT].revents)
            websocket_pump_serve(&session->pump, fds[PUMP_CLIENT].revents);
        resume(session);
    }
}

void cp_in_run(struct cp_session *session)
{
    struct error err = {0};
    _cleanup_(close) int fd = -1;
    const struct websocket_session *connection = session->pump.connection;
    if (session->problem.status != 0)
        settle(session, session->problem.message);
    if (!session->settled) {
        fd = instance_file_put(connection->server->host, connection->instance_id,
                               &session->request.put, &err);
        session->agent.fd = fd;
    }
    if (!session->settled && fd < 0)
        settle(session, err.message);
    resume(session);
    pump(session);
    /* Nobody is told of a copy whose end did not come; the agent drops it, too. */
    if (session->settled)
        cp_send_result(session->pump.socket, session->bytes,
                       session->failure[0] ? session->failure : NULL);
}
