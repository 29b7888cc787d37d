/* SPDX-License-Identifier: Apache-2.0 */
/* tined's HTTP server on its listening sockets: one thread per connection, bodies limited, slow
 * clients timed out. */
#ifndef TINE_API_SERVER_H
#define TINE_API_SERVER_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>

#include "api/connections.h"
#include "base/error.h"

struct host;
struct image_store;
struct token_secret;
struct MHD_Daemon;

#define SERVER_BODY_LIMIT    (1u << 20)
#define SERVER_MAX_LISTENERS 2

/* A listening socket, with a limit of connections of its own: strangers who use up those of the
 * network don't keep the host's own users out. */
struct server_listener {
    struct server *server;
    struct MHD_Daemon *daemon;
    bool needs_token;
};

struct server {
    struct host *host;
    const char *data_dir;
    struct image_store *images;
    unsigned request_timeout_s; /* how long a client may take to send its request; 0: no limit */
    unsigned max_connections;   /* of each listener */
    const struct token_secret *token_secret; /* for listeners that ask for tokens */
    struct server_listener listeners[SERVER_MAX_LISTENERS];
    size_t listener_count;
    struct connections connections;
    int stop_fd; /* an eventfd, readable from the moment tined stops */
    atomic_bool stopping;
    atomic_uint active;  /* requests under way */
    atomic_uint streams; /* logs and exec sessions under way */
};

/* Makes a server of what the caller filled in: host, data_dir, images, request_timeout_s,
 * max_connections, token_secret. It serves nothing yet. server_stop() after a success. */
int server_start(struct server *server, struct error *err);
/* Serves `listen_fd` (owned by the server from then on) until server_stop(). */
int server_listen(struct server *server, int listen_fd, bool needs_token, struct error *err);

/* Hangs up on clients that take too long to send a request. To be called about every second. */
void server_sweep(struct server *server);

/* Begins to stop: no new connection or request is taken; streams, waits and exec sessions end;
 * operations go on. */
void server_refuse(struct server *server);
/* Ends the server; operations that are still under way are waited for. */
void server_stop(struct server *server);

#endif
