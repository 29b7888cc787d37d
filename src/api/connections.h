/* SPDX-License-Identifier: Apache-2.0 */
/* The connections of a server, each with the moment by which its next request must have arrived
 * whole. The HTTP library only drops clients that are silent; one that sends a byte now and then
 * would hold its thread for hours. */
#ifndef TINE_API_CONNECTIONS_H
#define TINE_API_CONNECTIONS_H

#include <pthread.h>
#include <stdatomic.h>
#include <stdint.h>

struct connection {
    struct connection *next, *previous;
    int fd;                       /* borrowed */
    _Atomic uint64_t deadline_ns; /* monotonic; 0: none */
};

struct connections {
    pthread_mutex_t lock; /* guards the list */
    struct connection *first;
    uint64_t patience_ns; /* how long a request may take to arrive; 0: no limit */
};

void connections_init(struct connections *connections, uint64_t patience_ns);
void connections_release(struct connections *connections);

/* A client came; its first request is awaited. NULL: out of memory, nothing watches it then. */
struct connection *connection_add(struct connections *connections, int fd);
/* It went; to be called before `fd` is closed. */
void connection_remove(struct connections *connections, struct connection *connection);

/* Its next request is awaited from now on. `connection` may be NULL here and below. */
void connection_await(const struct connections *connections, struct connection *connection);
/* Its request is here: answering may take as long as it takes. */
void connection_arrived(struct connection *connection);

/* Hangs up on those whose time is over. To be called about every second. */
void connections_sweep(struct connections *connections);

#endif
