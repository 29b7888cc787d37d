/* SPDX-License-Identifier: Apache-2.0 */
#include "api/connections.h"

#include <stddef.h>
#include <stdlib.h>
#include <sys/socket.h>

#include "base/clock.h"
#include "base/log.h"

void connections_init(struct connections *connections, uint64_t patience_ns)
{
    *connections = (struct connections){.patience_ns = patience_ns};
    pthread_mutex_init(&connections->lock, NULL);
}

void connections_release(struct connections *connections)
{
    pthread_mutex_destroy(&connections->lock);
}

struct connection *connection_add(struct connections *connections, int fd)
{
    struct connection *connection = calloc(1, sizeof(*connection));
    if (!connection)
        return NULL;
    connection->fd = fd;
    connection_await(connections, connection);
    pthread_mutex_lock(&connections->lock);
    connection->next = connections->first;
    if (connection->next)
        connection->next->previous = connection;
    connections->first = connection;
    pthread_mutex_unlock(&connections->lock);
    return connection;
}

void connection_remove(struct connections *connections, struct connection *connection)
{
    if (!connection)
        return;
    pthread_mutex_lock(&connections->lock);
    if (connection->next)
        connection->next->previous = connection->previous;
    if (connection->previous)
        connection->previous->next = connection->next;
    else
        connections->first = connection->next;
    pthread_mutex_unlock(&connections->lock);
    free(connection);
}

void connection_await(const struct connections *connections, struct connection *connection)
{
    if (connection && connections->patience_ns != 0)
        atomic_store(&connection->deadline_ns, time_monotonic_ns() + connections->patience_ns);
}

void connection_arrived(struct connection *connection)
{
    if (connection)
        atomic_store(&connection->deadline_ns, 0);
}

void connections_sweep(struct connections *connections)
{
    uint64_t now = time_monotonic_ns();
    pthread_mutex_lock(&connections->lock);
    for (struct connection *one = connections->first; one; one = one->next) {
        uint64_t deadline = atomic_load(&one->deadline_ns);
        if (deadline == 0 || now < deadline)
            continue;
        log_debug("a client takes too long to send a request: dropped");
        /* Its thread sees the end of the stream; the descriptor stays the HTTP library's. */
        shutdown(one->fd, SHUT_RDWR);
        atomic_store(&one->deadline_ns, 0);
    }
    pthread_mutex_unlock(&connections->lock);
}
