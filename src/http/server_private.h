/* SPDX-License-Identifier: Apache-2.0 */
#ifndef TINE_HTTP_SERVER_PRIVATE_H
#define TINE_HTTP_SERVER_PRIVATE_H

#include "http/server.h"

struct http_connection;

struct http_server {
    struct http_server_config config;
    struct loop *loop;
    struct loop_source listener;
    int spare_fd; /* given up for a moment to turn a client away when descriptors run out */
    struct http_connection **connections; /* config.max_connections places */
};

/* Takes `fd` over, also on failure (NULL). */
struct http_connection *http_connection_create(struct http_server *server, int fd,
                                               struct error *err);
void http_connection_destroy(struct http_connection *connection);
/* server.c: the connection is over; frees its place and destroys it. */
void http_connection_closed(struct http_server *server, struct http_connection *connection);

#endif
