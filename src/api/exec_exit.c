/* SPDX-License-Identifier: Apache-2.0 */
#include "api/exec_exit.h"

#include <jansson.h>
#include <stdlib.h>
#include <string.h>

#include "api/json_text.h"
#include "base/cleanup.h"

#define EXIT_REFUSED 127

static void send_json(struct websocket *socket, json_t *json)
{
    _cleanup_(free) char *text = json_dumps(json, JSON_COMPACT);
    json_decref(json);
    if (text)
        websocket_send(socket, true, text, strlen(text));
}

void exec_exit_send(struct websocket *socket, const struct agent_exit *outcome, bool extended)
{
    json_t *json =
        json_pack("{s:i}", "exitCode", outcome->timed_out ? EXEC_EXIT_TIMED_OUT : outcome->code);
    if (extended)
        json_object_set_new(
            json, "tine",
            json_pack("{s:i, s:b}", "signal", outcome->signal, "timed_out", outcome->timed_out));
    send_json(socket, json);
}

void exec_exit_send_refusal(struct websocket *socket, const char *message)
{
    send_json(socket, json_pack("{s:o, s:i}", "error", json_text(message, strlen(message)),
                                "exitCode", EXIT_REFUSED));
}
