/* SPDX-License-Identifier: Apache-2.0 */
#include "api/cp_session.h"

#include <stdlib.h>

#include "base/cleanup.h"
#include "base/log.h"

static void on_message(void *data, bool text, const char *payload, size_t length)
{
    struct cp_session *session = data;
    if (session->requested) {
        if (session->request.into_guest)
            cp_in_message(session, text, payload, length);
        return;
    }
    session->requested = true;
    if (text)
        cp_request_parse(&session->request, payload, length, &session->problem);
    else
        problem_set(&session->problem, 400, PROBLEM_BAD_REQUEST, "the first message must be text");
}

void cp_session_run(const struct websocket_session *connection)
{
    struct error err = {0};
    _cleanup_(free) struct cp_session *session = calloc(1, sizeof(*session));
    if (!session)
        return;
    session->agent.fd = -1;
    if (websocket_pump_open(&session->pump, connection, on_message, session, &err) < 0) {
        log_error("cp in %s: %s", connection->instance_id, err.message);
        return;
    }
    if (!websocket_pump_await(&session->pump, &session->requested))
        problem_set(&session->problem, 400, PROBLEM_BAD_REQUEST, "no request came");
    if (session->request.into_guest)
        cp_in_run(session);
    else
        cp_out_run(session);
    websocket_pump_close(&session->pump);
    frame_stream_release(&session->agent);
    cp_request_release(&session->request);
}
