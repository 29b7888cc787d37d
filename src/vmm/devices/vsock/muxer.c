/* SPDX-License-Identifier: Apache-2.0 */
/* All connections of a device: finding them, new host clients, ports, deadlines. */
#include <errno.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/timerfd.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/clock.h"
#include "vmm/devices/vsock/vsock.h"

/* ---- ports ---- */

static unsigned bucket_of(uint32_t host_port, uint32_t guest_port)
{
    /* Knuth's multiplicative hash; a guest that aims at one bucket lengthens its own searches, by
     * at most VSOCK_MAX_CONNECTIONS steps. */
    uint32_t hash = (host_port ^ (guest_port << 16 | guest_port >> 16)) * 2654435761u;
    return hash >> 24;
}

_Static_assert(VSOCK_BUCKETS == 1u << 8, "bucket_of() gives eight bits");

struct connection *vsock_find(const struct vsock *vsock, uint32_t host_port, uint32_t guest_port)
{
    struct connection *connection = NULL;
    LIST_FOREACH(connection, &vsock->buckets[bucket_of(host_port, guest_port)], bucket)
    {
        if (connection->host_port == host_port && connection->guest_port == guest_port)
            return connection;
    }
    return NULL;
}

void vsock_index(struct vsock *vsock, struct connection *connection)
{
    unsigned bucket = bucket_of(connection->host_port, connection->guest_port);
    LIST_INSERT_HEAD(&vsock->buckets[bucket], connection, bucket);
}

/* Upwards from the last one, so a port comes again only after all others. */
uint32_t vsock_new_host_port(struct vsock *vsock, uint32_t guest_port)
{
    do {
        vsock->last_host_port = vsock->last_host_port >= VSOCK_LAST_HOST_PORT
                                    ? VSOCK_FIRST_HOST_PORT
                                    : vsock->last_host_port + 1;
    } while (vsock_find(vsock, vsock->last_host_port, guest_port));
    return vsock->last_host_port;
}

void vsock_drop_all(struct vsock *vsock)
{
    struct connection *connection = LIST_FIRST(&vsock->connections);
    while (connection) {
        struct connection *next = LIST_NEXT(connection, all);
        connection_free(connection);
        connection = next;
    }
    vsock->reset_start = vsock->reset_count = 0;
}

/* ---- deadlines ---- */

void vsock_arm_timer(struct vsock *vsock, uint64_t deadline)
{
    if (vsock->timer_deadline != 0 && vsock->timer_deadline <= deadline)
        return;
    const struct itimerspec when = {.it_value = {.tv_sec = (time_t)(deadline / 1000000000u),
                                                 .tv_nsec = (long)(deadline % 1000000000u)}};
    /* Can't fail: the descriptor is a timer's and the time is a valid one. */
    (void)timerfd_settime(vsock->timer.fd, TFD_TIMER_ABSTIME, &when, NULL);
    vsock->timer_deadline = deadline;
}

/* The first connection whose deadline is over; arms the timer for the nearest of the others. */
static struct connection *find_expired(struct vsock *vsock, uint64_t now)
{
    struct connection *connection = NULL;
    LIST_FOREACH(connection, &vsock->connections, all)
    {
        if (connection->deadline == 0)
            continue;
        if (connection->deadline <= now)
            return connection;
        vsock_arm_timer(vsock, connection->deadline);
    }
    return NULL;
}

void vsock_timer_ready(struct loop_source *source, uint32_t events)
{
    struct vsock *vsock = CONTAINER_OF(source, struct vsock, timer);
    struct connection *connection = NULL;
    uint64_t count = 0;
    if (read(source->fd, &count, sizeof(count)) != (ssize_t)sizeof(count))
        return; /* armed anew since it was seen */
    vsock->timer_deadline = 0;
    uint64_t now = time_monotonic_ns();
    while ((connection = find_expired(vsock, now)))
        connection_expire(connection);
    if (vsock->accept_again != 0 && vsock->accept_again > now)
        vsock_arm_timer(vsock, vsock->accept_again);
    else
        vsock->accept_again = 0;
    vsock_update_accepting(vsock);
    vsock_fill(vsock);
}

/* ---- host clients ---- */

bool vsock_has_place(const struct vsock *vsock)
{
    struct rlimit files;
    if (vsock->connection_count >= VSOCK_MAX_CONNECTIONS)
        return false;
    if (getrlimit(RLIMIT_NOFILE, &files) < 0)
        return true; /* then running out of descriptors is the limit */
    rlim_t quarter = files.rlim_cur / 4;
    rlim_t spare = quarter < VSOCK_SPARE_FDS ? quarter : VSOCK_SPARE_FDS;
    return vsock->connection_count < files.rlim_cur - spare;
}

/* Clients wait in the backlog while there is no driver, no place or no descriptor for them. */
void vsock_update_accepting(struct vsock *vsock)
{
    struct loop *loop = vsock->device.loop;
    bool wanted = vsock->up && vsock->accept_again == 0 && vsock_has_place(vsock);
    if (wanted == vsock->accepting)
        return;
    if (!wanted) {
        loop_remove(loop, &vsock->listener);
        vsock->accepting = false;
        return;
    }
    vsock->accepting = loop_add(loop, &vsock->listener, EPOLLIN, NULL) == 0;
    if (!vsock->accepting)
        virtio_complain(&vsock->device, "can't watch the socket for clients");
}

void vsock_listener_ready(struct loop_source *source, uint32_t events)
{
    struct vsock *vsock = CONTAINER_OF(source, struct vsock, listener);
    int fd = accept4(source->fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
    if (fd < 0 && (errno == EMFILE || errno == ENFILE || errno == ENOMEM || errno == ENOBUFS)) {
        virtio_complain(&vsock->device, "accept: %s", errno_name(errno));
        vsock->accept_again = time_monotonic_ns() + VSOCK_ACCEPT_NS;
        vsock_arm_timer(vsock, vsock->accept_again);
        vsock_update_accepting(vsock);
        return;
    }
    if (fd < 0)
        return; /* the client gave up before it was its turn */
    struct connection *connection = connection_create(vsock, fd, CONNECTION_GREETING);
    if (!connection)
        return;
    connection_set_deadline(connection, VSOCK_GREETING_NS);
    vsock_update_accepting(vsock);
    connection_settle(connection);
}
