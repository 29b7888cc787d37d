/* SPDX-License-Identifier: Apache-2.0 */
#include "api/exec_session.h"

#include <endian.h>
#include <errno.h>
#include <fcntl.h>
#include <jansson.h>
#include <poll.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#include "api/exec_exit.h"
#include "api/exec_request.h"
#include "api/frame_stream.h"
#include "api/json_text.h"
#include "api/websocket_pump.h"
#include "base/cleanup.h"
#include "base/log.h"
#include "instance/instance.h"

#define STDIN_QUEUE_LIMIT  (256u << 10)
#define OUTPUT_QUEUE_LIMIT (1u << 20)
#define EXIT_NOT_RUN       127

enum output_stream { OUTPUT_STDOUT = 1, OUTPUT_STDERR = 2 };

struct exec_session {
    struct websocket_pump pump;
    struct frame_stream agent;
    struct exec_request request;
    struct problem problem; /* with the first message */
    bool requested, paused, stdin_closed, exited;
    char marked[1 + AGENT_FRAME_LIMIT]; /* an output message with its stream in front */
};

/* Output that can't be queued is lost, and the client with it: it must not take the rest for all.
 */
static void send_binary(struct exec_session *session, const void *data, size_t length)
{
    if (websocket_send(session->pump.socket, false, data, length) < 0)
        session->pump.client_gone = true;
}

static void send_output(struct exec_session *session, enum output_stream stream, const void *data,
                        size_t length)
{
    if (!session->request.streams) {
        send_binary(session, data, length);
        return;
    }
    if (length > AGENT_FRAME_LIMIT)
        length = AGENT_FRAME_LIMIT;
    session->marked[0] = (char)stream;
    if (length > 0)
        memcpy(session->marked + 1, data, length);
    send_binary(session, session->marked, length + 1);
}

/* A command that did not run: the client is told in words and by the status of a shell. */
static void send_failure(struct exec_session *session, const char *message)
{
    _cleanup_(free) char *line = NULL;
    int length = asprintf(&line, "Error: %s\r\n", message);
    if (length < 0) {
        line = NULL;
        return;
    }
    send_output(session, OUTPUT_STDERR, line, (size_t)length);
    struct agent_exit outcome = {.code = EXIT_NOT_RUN};
    exec_exit_send(session->pump.socket, &outcome, session->request.streams);
    session->exited = true;
}

static void queue(struct exec_session *session, uint8_t type, const void *payload, size_t length)
{
    if (frame_stream_queue(&session->agent, type, payload, length) < 0 && !session->exited)
        send_failure(session, "out of memory");
}

static void resize(struct exec_session *session, const json_t *size)
{
    json_int_t rows = json_integer_value(json_object_get(size, "rows"));
    json_int_t cols = json_integer_value(json_object_get(size, "cols"));
    if (rows < 1 || cols < 1 || rows > UINT16_MAX || cols > UINT16_MAX)
        return;
    uint16_t wire[2] = {htole16((uint16_t)rows), htole16((uint16_t)cols)};
    queue(session, AGENT_RESIZE, wire, sizeof(wire));
}

/* True if the text was a control message rather than input. */
static bool control_message(struct exec_session *session, const char *text, size_t length)
{
    if (!session->request.exec.tty && !session->request.streams)
        return false;
    _cleanup_(json) json_t *json = json_loadb(text, length, 0, NULL);
    const json_t *size = json_object_get(json, "resize");
    if (session->request.exec.tty && size) {
        resize(session, size);
        return true;
    }
    if (!session->request.streams)
        return false;
    json_int_t number = json_integer_value(json_object_get(json, "signal"));
    if (json_is_true(json_object_get(json, "eof"))) {
        queue(session, AGENT_STDIN_EOF, NULL, 0);
    } else if (number >= 1 && number <= AGENT_SIGNAL_MAX) {
        uint32_t wire = htole32((uint32_t)number);
        queue(session, AGENT_SIGNAL, &wire, sizeof(wire));
    }
    return true; /* with the extension, text is never input */
}

static void on_message(void *data, bool text, const char *payload, size_t length)
{
    struct exec_session *session = data;
    if (session->requested) {
        if (text && control_message(session, payload, length))
            return;
        if (length > 0)
            queue(session, AGENT_STDIN, payload, length);
    } else {
        session->requested = true;
        if (text)
            exec_request_parse(&session->request, payload, length, &session->problem);
        else
            problem_set(&session->problem, 400, PROBLEM_BAD_REQUEST,
                        "the first message must be text");
    }
    if (frame_stream_queued(&session->agent) > STDIN_QUEUE_LIMIT) {
        session->paused = true;
        websocket_pause(session->pump.socket, true);
    }
}

/* Returns false if there was no usable request. */
static bool await_request(struct exec_session *session)
{
    if (!websocket_pump_await(&session->pump, &session->requested))
        problem_set(&session->problem, 400, PROBLEM_BAD_REQUEST, "no request came");
    if (session->problem.status == 0)
        return true;
    exec_exit_send_refusal(session->pump.socket, session->problem.message);
    return false;
}

static void serve_frame(struct exec_session *session, const struct agent_frame *frame)
{
    if (frame->type == AGENT_STDOUT || frame->type == AGENT_STDERR) {
        send_output(session, frame->type == AGENT_STDOUT ? OUTPUT_STDOUT : OUTPUT_STDERR,
                    frame->payload, frame->length);
    } else if (frame->type == AGENT_EXIT) {
        struct agent_exit outcome;
        if (agent_exit_parse(&outcome, frame) < 0)
            send_failure(session, "the guest's agent sent a malformed exit status");
        else if (outcome.message[0])
            send_failure(session, outcome.message);
        else
            exec_exit_send(session->pump.socket, &outcome, session->request.streams);
        session->exited = true;
    }
}

static void serve_agent(struct exec_session *session, short revents)
{
    if ((revents & POLLOUT) != 0 && frame_stream_flush(&session->agent) < 0) {
        /* The command may have ended without reading its input: its exit is still to come. */
        session->stdin_closed = true;
        session->agent.out_length = session->agent.out_sent = 0;
    }
    if ((revents & (POLLIN | POLLHUP | POLLERR)) == 0)
        return;
    int filled = frame_stream_fill(&session->agent);
    struct agent_frame frame;
    int r = 0;
    while (!session->exited && (r = frame_stream_next(&session->agent, &frame)) > 0)
        serve_frame(session, &frame);
    if (session->exited)
        return;
    if (r < 0)
        send_failure(session, "the guest's agent broke the protocol");
    else if (filled < 0)
        send_failure(session, "the guest's agent closed the connection");
}

/* Input beyond the limit waits in the connection; once there is room again it is taken up. */
static void resume_input(struct exec_session *session)
{
    if (session->stdin_closed)
        session->agent.out_length = session->agent.out_sent = 0;
    if (!session->paused || frame_stream_queued(&session->agent) > STDIN_QUEUE_LIMIT)
        return;
    session->paused = false;
    websocket_pause(session->pump.socket, false);
    websocket_pump_serve(&session->pump, POLLIN);
}

static void pump(struct exec_session *session)
{
    while (!session->exited && !session->pump.client_gone) {
        bool agent_in = websocket_queued(session->pump.socket) < OUTPUT_QUEUE_LIMIT;
        bool agent_out = frame_stream_queued(&session->agent) > 0;
        short wanted = (short)((agent_in ? POLLIN : 0) | (agent_out ? POLLOUT : 0));
        struct pollfd fds[PUMP_COUNT];
        if (websocket_pump_wait(&session->pump, fds, session->agent.fd, wanted, -1)) {
            send_failure(session, "tined is stopping");
            return;
        }
        if (fds[PUMP_AGENT].revents)
            serve_agent(session, fds[PUMP_AGENT].revents);
        if (fds[PUMP_CLIENT].revents)
            websocket_pump_serve(&session->pump, fds[PUMP_CLIENT].revents);
        resume_input(session);
    }
}

static void run_command(struct exec_session *session)
{
    struct error err = {0};
    _cleanup_(close) int agent_fd =
        instance_exec(session->pump.connection->server->host, session->pump.connection->instance_id,
                      &session->request.exec, &err);
    if (agent_fd < 0) {
        send_failure(session, err.message);
        return;
    }
    session->agent.fd = agent_fd;
    pump(session);
}

void exec_session_run(const struct websocket_session *connection)
{
    _cleanup_(free) struct exec_session *session = calloc(1, sizeof(*session));
    if (!session)
        return;
    session->agent.fd = -1;
    struct error err = {0};
    if (websocket_pump_open(&session->pump, connection, on_message, session, &err) < 0) {
        log_error("exec in %s: %s", connection->instance_id, err.message);
        return;
    }
    if (await_request(session))
        run_command(session);
    websocket_pump_close(&session->pump);
    frame_stream_release(&session->agent);
    exec_request_release(&session->request);
}
