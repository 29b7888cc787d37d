/* SPDX-License-Identifier: Apache-2.0 */
#include "api/websocket.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <sys/socket.h>
#include <wslay/wslay.h>

#include "base/cleanup.h"

/* While more than this waits to be written, nothing is read: a peer that sends pings and never
 * reads must not fill our memory. */
#define QUEUE_LIMIT (4u << 20)

struct websocket {
    struct websocket_options options;
    wslay_event_context_ptr context;
    bool paused;
    int lost; /* negative errno of the connection, 0 while it stands */
};

static ssize_t would_block(wslay_event_context_ptr context)
{
    wslay_event_set_error(context, WSLAY_ERR_WOULDBLOCK);
    return -1;
}

static ssize_t connection_lost(struct websocket *socket, int errnum)
{
    socket->lost = -errnum;
    wslay_event_set_error(socket->context, WSLAY_ERR_CALLBACK_FAILURE);
    return -1;
}

static ssize_t on_receive(wslay_event_context_ptr context, uint8_t *buffer, size_t length,
                          int flags, void *data)
{
    struct websocket *socket = data;
    if (socket->paused || wslay_event_get_queued_msg_length(context) > QUEUE_LIMIT)
        return would_block(context);
    struct websocket_options *options = &socket->options;
    if (options->early_length > 0) {
        size_t n = length < options->early_length ? length : options->early_length;
        memcpy(buffer, options->early, n);
        options->early = (const uint8_t *)options->early + n;
        options->early_length -= n;
        return (ssize_t)n;
    }
    ssize_t n;
    do
        n = recv(options->fd, buffer, length, MSG_DONTWAIT);
    while (n < 0 && errno == EINTR);
    if (n > 0)
        return n;
    if (n < 0 && errno == EAGAIN)
        return would_block(context);
    return connection_lost(socket, n == 0 ? EPIPE : errno);
}

static ssize_t on_send(wslay_event_context_ptr context, const uint8_t *buffer, size_t length,
                       int flags, void *data)
{
    struct websocket *socket = data;
    ssize_t n;
    do
        n = send(socket->options.fd, buffer, length, MSG_DONTWAIT | MSG_NOSIGNAL);
    while (n < 0 && errno == EINTR);
    if (n >= 0)
        return n;
    return errno == EAGAIN ? would_block(context) : connection_lost(socket, errno);
}

static int on_mask(wslay_event_context_ptr context, uint8_t *buffer, size_t length, void *data)
{
    return getrandom(buffer, length, 0) == (ssize_t)length ? 0 : -1;
}

static void on_message(wslay_event_context_ptr context,
                       const struct wslay_event_on_msg_recv_arg *message, void *data)
{
    struct websocket *socket = data;
    if (!wslay_is_ctrl_frame(message->opcode))
        socket->options.message(socket->options.data, message->opcode == WSLAY_TEXT_FRAME,
                                (const char *)message->msg, message->msg_length);
}

struct websocket *websocket_new(const struct websocket_options *options, struct error *err)
{
    static const struct wslay_event_callbacks callbacks = {
        .recv_callback = on_receive,
        .send_callback = on_send,
        .genmask_callback = on_mask,
        .on_msg_recv_callback = on_message,
    };
    struct websocket *socket = calloc(1, sizeof(*socket));
    if (!socket) {
        error_errno(err, ENOMEM, NULL, "websocket");
        return NULL;
    }
    socket->options = *options;
    int r = options->server ? wslay_event_context_server_init(&socket->context, &callbacks, socket)
                            : wslay_event_context_client_init(&socket->context, &callbacks, socket);
    if (r != 0) {
        free(socket);
        error_errno(err, ENOMEM, NULL, "websocket");
        return NULL;
    }
    wslay_event_config_set_max_recv_msg_length(socket->context, WEBSOCKET_MESSAGE_LIMIT);
    return socket;
}

void websocket_free(struct websocket *socket)
{
    if (!socket)
        return;
    wslay_event_context_free(socket->context);
    free(socket);
}

void websocket_pause(struct websocket *socket, bool paused)
{
    socket->paused = paused;
}

static int lost_error(const struct websocket *socket, struct error *err)
{
    if (socket->lost == -EPIPE)
        return error_set(err, ERROR_SYSTEM, EPIPE, "the other side closed the connection");
    return error_errno(err, socket->lost != 0 ? -socket->lost : EPROTO, NULL, "websocket");
}

int websocket_receive(struct websocket *socket, struct error *err)
{
    if (socket->lost == 0 && wslay_event_recv(socket->context) != 0 && socket->lost == 0)
        socket->lost = -EPROTO;
    /* After a protocol error the library stops reading and has a close frame queued. */
    if (socket->lost == 0 && !wslay_event_get_read_enabled(socket->context))
        socket->lost = -EPIPE;
    return socket->lost < 0 ? lost_error(socket, err) : 0;
}

int websocket_send(struct websocket *socket, bool text, const void *payload, size_t length)
{
    struct wslay_event_msg message = {
        .opcode = text ? WSLAY_TEXT_FRAME : WSLAY_BINARY_FRAME,
        .msg = payload,
        .msg_length = length,
    };
    int r = wslay_event_queue_msg(socket->context, &message);
    return r == WSLAY_ERR_NOMEM ? -ENOMEM : 0;
}

void websocket_close(struct websocket *socket, unsigned code)
{
    wslay_event_queue_close(socket->context, (uint16_t)code, NULL, 0);
}

int websocket_flush(struct websocket *socket, struct error *err)
{
    if (wslay_event_send(socket->context) == 0)
        return 0;
    if (socket->lost == 0)
        socket->lost = -EPROTO;
    return lost_error(socket, err);
}

short websocket_events(const struct websocket *socket)
{
    bool read = !socket->paused && wslay_event_want_read(socket->context) &&
                wslay_event_get_queued_msg_length(socket->context) <= QUEUE_LIMIT;
    bool write = wslay_event_want_write(socket->context);
    return (short)((read ? POLLIN : 0) | (write ? POLLOUT : 0));
}

size_t websocket_queued(const struct websocket *socket)
{
    return wslay_event_get_queued_msg_length(socket->context);
}
