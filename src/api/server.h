/* SPDX-License-Identifier: Apache-2.0 */
/* tined's HTTP server on a listening unix socket: one thread per connection, bodies limited, slow
 * clients timed out. */
#ifndef TINE_API_SERVER_H
#define TINE_API_SERVER_H

#include <stdatomic.h>
#include <stdbool.h>

#include "base/error.h"

struct host;
struct MHD_Daemon;

#define SERVER_BODY_LIMIT (1u << 20)

struct server {
    struct host *host;
    const char *data_dir;
    unsigned request_timeout_s; /* how long a client may take to send its request; 0: no limit */
    struct MHD_Daemon *daemon;
    int stop_fd; /* an eventfd, readable from the moment tined stops */
    atomic_bool stopping;
    atomic_uint active;  /* requests under way */
    atomic_uint streams; /* logs and exec sessions under way */
};

/* Serves `listen_fd` (owned by the server from then on) until server_stop(). The caller fills host,
 * data_dir and request_timeout_s. */
int server_start(struct server *server, int listen_fd, struct error *err);

/* Begins to stop: no new connection or request is taken; streams, waits and exec sessions end;
 * operations go on. */
void server_refuse(struct server *server);
/* Ends the server; operations that are still under way are waited for. */
void server_stop(struct server *server);

#endif
