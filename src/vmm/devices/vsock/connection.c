/* SPDX-License-Identifier: Apache-2.0 */
#include "vmm/devices/vsock/vsock.h"

#include <stdlib.h>
#include <sys/epoll.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/clock.h"

#define NOT_IN_LOOP (-1)

static void host_ready(struct loop_source *source, uint32_t events);

struct connection *connection_create(struct vsock *vsock, int fd, enum connection_state state)
{
    struct connection *connection = calloc(1, sizeof(*connection));
    if (!connection) {
        close(fd);
        return NULL;
    }
    connection->source = (struct loop_source){.fd = fd, .ready = host_ready};
    connection->vsock = vsock;
    connection->state = state;
    connection->interest = NOT_IN_LOOP;
    LIST_INSERT_HEAD(&vsock->connections, connection, all);
    vsock->connection_count++;
    return connection;
}

/* From when the guest is asked until it is done. */
static bool guest_knows(const struct connection *connection)
{
    return connection->state != CONNECTION_GREETING && connection->state != CONNECTION_DRAINING;
}

/* Nothing of it reaches the guest any more, and its ports are free. */
static void leave_guest(struct connection *connection)
{
    if (connection->waiting)
        TAILQ_REMOVE(&connection->vsock->waiting, connection, in_waiting);
    connection->waiting = false;
    if (guest_knows(connection))
        LIST_REMOVE(connection, bucket);
}

void connection_free(struct connection *connection)
{
    struct vsock *vsock = connection->vsock;
    leave_guest(connection);
    LIST_REMOVE(connection, all);
    vsock->connection_count--;
    if (connection->interest != NOT_IN_LOOP)
        loop_remove(vsock->device.loop, &connection->source);
    close(connection->source.fd);
    byte_ring_clear(&connection->to_host);
    free(connection);
    vsock_update_accepting(vsock);
}

void connection_kill(struct connection *connection)
{
    if (guest_knows(connection))
        vsock_reset_ports(connection->vsock, connection->host_port, connection->guest_port);
    connection_free(connection);
}

void connection_release(struct connection *connection)
{
    if (connection->to_host.used == 0) {
        connection_kill(connection);
        return;
    }
    vsock_reset_ports(connection->vsock, connection->host_port, connection->guest_port);
    leave_guest(connection);
    connection->state = CONNECTION_DRAINING;
    connection->pending = 0;
    connection->deadline = 0;
    connection_settle(connection);
}

uint32_t connection_credit(const struct connection *connection)
{
    uint32_t in_flight = connection->sent - connection->guest_fwd_cnt;
    /* A guest that lies about either number only silences its own connection. */
    return in_flight >= connection->guest_buf_alloc ? 0 : connection->guest_buf_alloc - in_flight;
}

void connection_set_deadline(struct connection *connection, uint64_t from_now_ns)
{
    connection->deadline = time_monotonic_ns() + from_now_ns;
    vsock_arm_timer(connection->vsock, connection->deadline);
}

void connection_expire(struct connection *connection)
{
    connection->deadline = 0;
    connection_kill(connection);
}

/* epoll reports EPOLLHUP whether asked or not, and again and again: a socket from which nothing can
 * be taken at the moment must be out of the loop, not just without events. */
static int wanted_interest(const struct connection *connection)
{
    int out = connection->to_host.used > 0 ? EPOLLOUT : 0;
    bool reads = !connection->host_eof && !(connection->guest_shutdown & VIRTIO_VSOCK_SHUTDOWN_RCV);
    switch (connection->state) {
    case CONNECTION_GREETING:
        return EPOLLIN;
    case CONNECTION_REQUESTED:
        return 0; /* EPOLLHUP: the client gave up, which ends the connection */
    case CONNECTION_ESTABLISHED:
        if (!reads)
            return out; /* EPOLLHUP: the host closed the other direction too */
        if (!(connection->pending & PENDING_DATA) && connection_credit(connection) > 0)
            return EPOLLIN | out;
        return out ? out : NOT_IN_LOOP;
    case CONNECTION_DRAINING:
        return EPOLLOUT;
    default:
        return NOT_IN_LOOP;
    }
}

static int watch(struct connection *connection, int wanted)
{
    struct loop *loop = connection->vsock->device.loop;
    int old = connection->interest;
    connection->interest = wanted;
    if (wanted == old)
        return 0;
    if (wanted == NOT_IN_LOOP) {
        loop_remove(loop, &connection->source);
        return 0;
    }
    int r = old == NOT_IN_LOOP ? loop_add(loop, &connection->source, (uint32_t)wanted, NULL)
                               : loop_modify(loop, &connection->source, (uint32_t)wanted, NULL);
    if (r < 0 && old == NOT_IN_LOOP)
        connection->interest = NOT_IN_LOOP;
    return r;
}

void connection_settle(struct connection *connection)
{
    struct vsock *vsock = connection->vsock;
    if (watch(connection, wanted_interest(connection)) < 0) {
        connection_kill(connection);
        return;
    }
    if (connection->pending != 0 && !connection->waiting) {
        TAILQ_INSERT_TAIL(&vsock->waiting, connection, in_waiting);
        connection->waiting = true;
    }
}

/* The host closed its socket for good: what is left to write has no reader. */
static void host_gone(struct connection *connection)
{
    connection->host_eof = true;
    connection->state = CONNECTION_CLOSING;
    connection->forwarded = connection->received;
    connection->pending = (connection->pending & PENDING_RESPONSE) | PENDING_SHUTDOWN;
    byte_ring_clear(&connection->to_host);
    connection_set_deadline(connection, VSOCK_LINGER_NS);
    connection_settle(connection);
}

static void established_ready(struct connection *connection, uint32_t events)
{
    if ((events & EPOLLOUT) && connection_flush(connection) < 0) {
        connection_kill(connection);
        return;
    }
    if (!(connection->interest & EPOLLIN) && (events & (EPOLLHUP | EPOLLERR))) {
        host_gone(connection);
        return;
    }
    if (events & (EPOLLIN | EPOLLHUP | EPOLLERR))
        connection->pending |= PENDING_DATA;
    connection_advance(connection);
}

static void draining_ready(struct connection *connection)
{
    if (connection_flush(connection) < 0 || connection->to_host.used == 0)
        connection_free(connection);
}

static void host_ready(struct loop_source *source, uint32_t events)
{
    struct connection *connection = CONTAINER_OF(source, struct connection, source);
    struct vsock *vsock = connection->vsock;
    if (connection->state == CONNECTION_GREETING)
        connection_greet(connection);
    else if (connection->state == CONNECTION_ESTABLISHED)
        established_ready(connection, events);
    else if (connection->state == CONNECTION_DRAINING)
        draining_ready(connection);
    else
        connection_kill(connection);
    vsock_fill(vsock);
}
