/* SPDX-License-Identifier: Apache-2.0 */
#include "api/websocket_pump.h"

#include <errno.h>
#include <sys/socket.h>

#include "api/server.h"
#include "base/clock.h"

#define FIRST_MESSAGE_MS 30000
#define FAREWELL_MS      10000 /* for the last messages to get through */
#define LINGER_MS        2000  /* for the client to close after them, before we do */
#define DRAIN_MS         2000  /* and once we have */

int websocket_pump_open(struct websocket_pump *pump, const struct websocket_session *connection,
                        websocket_message *message, void *data, struct error *err)
{
    struct websocket_options options = {
        .fd = connection->fd,
        .server = true,
        .early = connection->early,
        .early_length = connection->early_length,
        .message = message,
        .data = data,
    };
    *pump = (struct websocket_pump){.connection = connection};
    pump->socket = websocket_new(&options, err);
    return pump->socket ? 0 : -ENOMEM;
}

/* A descriptor nothing is wanted of is left out, or its hang-up would wake us for ever. */
bool websocket_pump_wait(const struct websocket_pump *pump, struct pollfd fds[PUMP_COUNT],
                         int agent_fd, short agent_events, int timeout_ms)
{
    fds[PUMP_CLIENT] =
        (struct pollfd){.fd = pump->connection->fd, .events = websocket_events(pump->socket)};
    fds[PUMP_AGENT] =
        (struct pollfd){.fd = agent_events != 0 ? agent_fd : -1, .events = agent_events};
    fds[PUMP_STOP] = (struct pollfd){.fd = pump->connection->server->stop_fd, .events = POLLIN};
    if (poll(fds, PUMP_COUNT, timeout_ms) < 0)
        fds[PUMP_CLIENT].revents = fds[PUMP_AGENT].revents = fds[PUMP_STOP].revents = 0;
    return fds[PUMP_STOP].revents != 0;
}

void websocket_pump_serve(struct websocket_pump *pump, short revents)
{
    bool lost = (revents & (POLLHUP | POLLERR)) != 0;
    if (!lost && (revents & POLLIN) != 0 && websocket_receive(pump->socket, NULL) < 0)
        lost = true;
    if (!lost && websocket_flush(pump->socket, NULL) < 0)
        lost = true;
    if (lost)
        pump->client_gone = true;
}

bool websocket_pump_await(struct websocket_pump *pump, const bool *requested)
{
    uint64_t deadline = time_after_ms(FIRST_MESSAGE_MS);
    /* What came with the handshake is not seen by poll. */
    websocket_pump_serve(pump, POLLIN);
    while (!*requested && !pump->client_gone && time_monotonic_ns() < deadline) {
        struct pollfd fds[PUMP_COUNT];
        if (websocket_pump_wait(pump, fds, -1, 0, 1000))
            return false;
        if (fds[PUMP_CLIENT].revents)
            websocket_pump_serve(pump, fds[PUMP_CLIENT].revents);
    }
    return *requested;
}

void websocket_pump_linger(struct websocket_pump *pump)
{
    uint64_t deadline = time_after_ms(LINGER_MS);
    while (!pump->client_gone && time_monotonic_ns() < deadline) {
        struct pollfd fds[PUMP_COUNT];
        if (websocket_pump_wait(pump, fds, -1, 0, LINGER_MS))
            return;
        if (fds[PUMP_CLIENT].revents)
            websocket_pump_serve(pump, fds[PUMP_CLIENT].revents);
    }
}

/* Writes all that is queued; false if the client is gone or does not take it in time. */
static bool flush_all(const struct websocket_pump *pump)
{
    uint64_t deadline = time_after_ms(FAREWELL_MS);
    while (websocket_flush(pump->socket, NULL) == 0 && time_monotonic_ns() < deadline) {
        if ((websocket_events(pump->socket) & POLLOUT) == 0)
            return true;
        struct pollfd fd = {.fd = pump->connection->fd, .events = POLLOUT};
        poll(&fd, 1, 1000);
    }
    return false;
}

/* Closing first, with bytes of the client's unread, would reset the connection and lose what is on
 * the way to it. */
static void drain(int fd)
{
    char dropped[4096];
    uint64_t deadline = time_after_ms(DRAIN_MS);
    struct pollfd pollfd = {.fd = fd, .events = POLLIN};
    while (time_monotonic_ns() < deadline && poll(&pollfd, 1, DRAIN_MS) > 0) {
        if (recv(fd, dropped, sizeof(dropped), MSG_DONTWAIT) <= 0)
            return;
    }
}

void websocket_pump_close(struct websocket_pump *pump)
{
    /* The close frame would overtake the messages. After a violation it is queued already, with its
     * code. */
    bool flushed = flush_all(pump);
    if (flushed && !pump->client_gone) {
        websocket_close(pump->socket, WEBSOCKET_NORMAL);
        flush_all(pump);
    }
    shutdown(pump->connection->fd, SHUT_WR);
    drain(pump->connection->fd);
    websocket_free(pump->socket);
}
