/* SPDX-License-Identifier: Apache-2.0 */
#include "api/exec_exit.h"

#include <errno.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "api/json_text.h"
#include "base/cleanup.h"

#define EXIT_REFUSED 127

static int read_i32(const uint8_t *value, uint32_t length, int *number)
{
    uint32_t wire;
    int r = agent_value_u32(value, length, &wire);
    if (r == 0)
        *number = (int)wire;
    return r;
}

int exec_exit_parse(struct exec_exit *outcome, const struct agent_frame *frame)
{
    *outcome = (struct exec_exit){.code = -1};
    size_t offset = 0;
    uint16_t tag;
    const uint8_t *value;
    uint32_t length;
    int r;
    while ((r = agent_field_next(frame->payload, frame->length, &offset, &tag, &value, &length)) >
           0) {
        if (tag == AGENT_TAG_EXIT_CODE)
            r = read_i32(value, length, &outcome->code);
        else if (tag == AGENT_TAG_SIGNAL)
            r = read_i32(value, length, &outcome->signal);
        else if (tag == AGENT_TAG_TIMED_OUT)
            outcome->timed_out = true;
        else if (tag == AGENT_TAG_MESSAGE)
            snprintf(outcome->message, sizeof(outcome->message), "%.*s", (int)length,
                     (const char *)value);
        if (r < 0)
            return r;
    }
    if (r < 0 || outcome->code < 0 || outcome->code > 255)
        return -EPROTO;
    if (outcome->timed_out)
        outcome->code = EXEC_EXIT_TIMED_OUT;
    return 0;
}

static void send_json(struct websocket *socket, json_t *json)
{
    _cleanup_(free) char *text = json_dumps(json, JSON_COMPACT);
    json_decref(json);
    if (text)
        websocket_send(socket, true, text, strlen(text));
}

void exec_exit_send(struct websocket *socket, const struct exec_exit *outcome, bool extended)
{
    json_t *json = json_pack("{s:i}", "exitCode", outcome->code);
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
