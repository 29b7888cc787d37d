/* SPDX-License-Identifier: Apache-2.0 */
/* Out of the guest: the agent's entries become headers, content and ends. */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "api/cp_message.h"
#include "api/cp_session.h"
#include "api/server.h"
#include "base/cleanup.h"
#include "instance/instance.h"

#define QUEUE_LIMIT (1u << 20)

static void fail(struct cp_session *session, const char *message)
{
    cp_send_error(session->pump.socket, message, session->request.get.path);
    session->over = true;
}

static void out_of_memory(struct cp_session *session)
{
    fail(session, "out of memory");
}

/* Which entry is the last is known only when the next one does not come. */
static void end_flush(struct cp_session *session, bool final)
{
    if (session->end_pending)
        cp_send_end(session->pump.socket, final, session->tree.skipped);
    session->end_pending = false;
}

static void on_entry(struct cp_session *session, const struct agent_frame *frame)
{
    end_flush(session, false);
    if (cp_send_header(session->pump.socket, &session->tree.entry) == 0)
        return;
    char message[2 * PATH_MAX + 64];
    snprintf(message, sizeof(message), "%s: a name that is not UTF-8 can't be copied",
             session->tree.entry.path);
    fail(session, message);
}

static void on_data(struct cp_session *session, const struct agent_frame *frame)
{
    if (frame->length > 0 &&
        websocket_send(session->pump.socket, false, frame->payload, frame->length) < 0)
        out_of_memory(session);
}

static void on_end(struct cp_session *session, const struct agent_frame *frame)
{
    session->end_pending = true;
}

static void on_over(struct cp_session *session, const struct agent_frame *frame)
{
    end_flush(session, true);
    session->over = session->complete = true;
}

static void on_failed(struct cp_session *session, const struct agent_frame *frame)
{
    struct error err = {0};
    agent_failure_error(&session->tree.failure, &err);
    fail(session, err.message);
}

static void serve_frame(struct cp_session *session, const struct agent_frame *frame)
{
    static void (*const handlers[])(struct cp_session * session,
                                    const struct agent_frame *frame) = {
        [AGENT_TREE_ENTRY] = on_entry, [AGENT_TREE_DATA] = on_data,     [AGENT_TREE_END] = on_end,
        [AGENT_TREE_OVER] = on_over,   [AGENT_TREE_FAILED] = on_failed,
    };
    int event = agent_tree_take(&session->tree, frame);
    if (event < 0)
        fail(session, "the guest's agent broke the protocol");
    else
        handlers[event](session, frame);
}

static void serve_agent(struct cp_session *session)
{
    int filled = frame_stream_fill(&session->agent);
    struct agent_frame frame;
    int r = 0;
    while (!session->over && (r = frame_stream_next(&session->agent, &frame)) > 0)
        serve_frame(session, &frame);
    if (session->over)
        return;
    if (r < 0)
        fail(session, "the guest's agent broke the protocol");
    else if (filled < 0)
        fail(session, "the guest's agent closed the connection");
}

static void pump(struct cp_session *session)
{
    while (!session->over && !session->pump.client_gone) {
        bool room = websocket_queued(session->pump.socket) < QUEUE_LIMIT;
        struct pollfd fds[PUMP_COUNT];
        if (websocket_pump_wait(&session->pump, fds, session->agent.fd, room ? POLLIN : 0, -1)) {
            fail(session, "tined is stopping");
            return;
        }
        if (fds[PUMP_AGENT].revents)
            serve_agent(session);
        websocket_pump_serve(&session->pump, fds[PUMP_CLIENT].revents);
    }
}

void cp_out_run(struct cp_session *session)
{
    struct error err = {0};
    const struct websocket_session *connection = session->pump.connection;
    if (session->problem.status != 0) {
        fail(session, session->problem.message);
        return;
    }
    _cleanup_(close) int fd = instance_file_get(connection->server->host, connection->instance_id,
                                                &session->request.get, &err);
    if (fd < 0) {
        fail(session, err.message);
        return;
    }
    session->agent.fd = fd;
    pump(session);
    if (session->complete)
        websocket_pump_linger(&session->pump);
}
