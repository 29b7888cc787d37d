/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/cp_wire.h"

#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/signalfd.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "cli/upgrade.h"

#define QUEUE_LIMIT (256u << 10)
#define TICK_MS     200

static void on_message(void *data, bool text, const char *payload, size_t length)
{
    struct cp_wire *wire = data;
    if (wire->over || wire->failure.exit_status != 0)
        return;
    if (!text) {
        if (wire->bytes)
            wire->bytes(wire->data, payload, length);
        return;
    }
    _cleanup_(json) json_t *message = json_loadb(payload, length, 0, NULL);
    if (message)
        wire->text(wire->data, message);
    else
        failure_set(&wire->failure, CLI_FAILED, "failed", "tined's message is not JSON");
}

static void interrupted(struct cp_wire *wire)
{
    struct signalfd_siginfo info;
    int number = read(wire->cp->signals, &info, sizeof(info)) == (ssize_t)sizeof(info)
                     ? (int)info.ssi_signo
                     : 0;
    failure_set(&wire->failure, 128 + number, "interrupted", "interrupted by a signal");
}

/* One turn: waits, takes in, writes. What came before the connection's end counts. */
static int step(struct cp_wire *wire)
{
    struct error err = {0};
    struct pollfd fds[2] = {
        {.fd = wire->fd, .events = websocket_events(wire->socket)},
        {.fd = wire->cp->signals, .events = POLLIN},
    };
    if (poll(fds, 2, TICK_MS) < 0)
        return 0;
    cp_progress(wire->cp, NULL, 0);
    if (fds[1].revents)
        interrupted(wire);
    int r = 0;
    if (fds[0].revents & (POLLIN | POLLHUP | POLLERR))
        r = websocket_receive(wire->socket, &err);
    if (r == 0)
        r = websocket_flush(wire->socket, &err);
    if (r < 0 && !wire->over && wire->failure.exit_status == 0)
        failure_set(&wire->failure, CLI_FAILED, "connection_lost",
                    "the connection was lost before the copy's end: %s", err.message);
    return wire->failure.exit_status;
}

int cp_wire_open(struct cp_wire *wire, json_t *request)
{
    struct error err = {0};
    _cleanup_(free) char *path = instance_path(wire->cp->instance, "/cp");
    wire->fd = path ? websocket_connect(wire->cp->cli, path, &wire->failure) : -1;
    if (wire->fd >= 0)
        wire->socket = websocket_new(
            &(struct websocket_options){.fd = wire->fd, .message = on_message, .data = wire}, &err);
    if (wire->socket)
        return cp_wire_send_json(wire, request);
    json_decref(request);
    if (wire->failure.exit_status == 0)
        failure_set(&wire->failure, CLI_FAILED, "failed", "out of memory");
    return wire->failure.exit_status;
}

int cp_wire_send(struct cp_wire *wire, const void *bytes, size_t length)
{
    if (websocket_send(wire->socket, false, bytes, length) < 0)
        failure_set(&wire->failure, CLI_FAILED, "failed", "out of memory");
    while (wire->failure.exit_status == 0 && websocket_queued(wire->socket) > QUEUE_LIMIT)
        step(wire);
    return wire->failure.exit_status;
}

int cp_wire_send_json(struct cp_wire *wire, json_t *message)
{
    _cleanup_(free) char *text = json_dumps(message, JSON_COMPACT);
    json_decref(message);
    if (!text || websocket_send(wire->socket, true, text, strlen(text)) < 0)
        failure_set(&wire->failure, CLI_FAILED, "failed", "out of memory");
    return wire->failure.exit_status;
}

int cp_wire_run(struct cp_wire *wire)
{
    while (!wire->over && wire->failure.exit_status == 0)
        step(wire);
    return wire->failure.exit_status;
}

void cp_wire_close(struct cp_wire *wire)
{
    if (wire->socket) {
        websocket_close(wire->socket, WEBSOCKET_NORMAL);
        websocket_flush(wire->socket, NULL);
    }
    websocket_free(wire->socket);
    cleanup_close(&wire->fd);
}
