/* SPDX-License-Identifier: Apache-2.0 */
/* The listening socket and the places for connections. */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/log.h"
#include "base/unix_socket.h"
#include "http/response.h"
#include "http/server_private.h"

static int open_spare(void)
{
    return open("/dev/null", O_RDONLY | O_CLOEXEC);
}

static struct http_connection **free_place(struct http_server *server)
{
    for (unsigned i = 0; i < server->config.max_connections; i++) {
        if (!server->connections[i])
            return &server->connections[i];
    }
    return NULL;
}

/* Answers 503 without reading the request, as far as the socket takes it: nobody waits for it. */
static void turn_away(const struct http_server *server, int fd)
{
    char scratch[1024];
    size_t length = 0;
    _cleanup_(free) char *body = http_error_body("error", "too many open connections", 0);
    _cleanup_(free) char *text =
        http_response(server->config.name, HTTP_UNAVAILABLE, body, true, &length);
    if (text && send(fd, text, length, MSG_NOSIGNAL | MSG_DONTWAIT) < 0)
        log_debug("api: a refused client is already gone");
    /* Unread bytes at close would reach the client as a reset. */
    while (recv(fd, scratch, sizeof(scratch), MSG_DONTWAIT) > 0)
        ;
    close(fd);
}

/* With no descriptor left the client would stay in the backlog and the listener ready for ever. */
static void accept_without_descriptors(struct http_server *server)
{
    if (server->spare_fd >= 0)
        close(server->spare_fd);
    int fd = accept4(server->listener.fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
    if (fd >= 0)
        turn_away(server, fd);
    server->spare_fd = open_spare();
    log_warning("api: no file descriptor left for a client");
}

static void listener_ready(struct loop_source *source, uint32_t events)
{
    struct http_server *server = CONTAINER_OF(source, struct http_server, listener);
    struct error err = {0};
    int fd = accept4(source->fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
    if (fd < 0 && (errno == EMFILE || errno == ENFILE)) {
        accept_without_descriptors(server);
        return;
    }
    if (fd < 0)
        return; /* the client gave up before it was its turn */
    struct http_connection **place = free_place(server);
    if (!place) {
        turn_away(server, fd);
        return;
    }
    *place = http_connection_create(server, fd, &err);
    if (!*place)
        log_warning("api: client refused: %s", err.message);
}

void http_connection_closed(struct http_server *server, struct http_connection *connection)
{
    for (unsigned i = 0; i < server->config.max_connections; i++) {
        if (server->connections[i] == connection)
            server->connections[i] = NULL;
    }
    http_connection_destroy(connection);
}

struct http_server *http_server_create(const struct http_server_config *config, struct loop *loop,
                                       struct error *err)
{
    struct http_server *server = calloc(1, sizeof(*server));
    if (server)
        server->connections = calloc(config->max_connections, sizeof(struct http_connection *));
    if (!server || !server->connections) {
        free(server);
        error_errno(err, ENOMEM, config->path, "API socket %s", config->path);
        return NULL;
    }
    server->config = *config;
    server->loop = loop;
    server->spare_fd = open_spare();
    server->listener.ready = listener_ready;
    server->listener.fd = unix_listen(config->path, SOCK_NONBLOCK, err);
    if (server->listener.fd < 0 || loop_add(loop, &server->listener, EPOLLIN, err) < 0) {
        http_server_destroy(server);
        return NULL;
    }
    return server;
}

void http_server_destroy(struct http_server *server)
{
    if (!server)
        return;
    for (unsigned i = 0; i < server->config.max_connections; i++)
        http_connection_destroy(server->connections[i]);
    if (server->listener.fd >= 0) {
        loop_remove(server->loop, &server->listener);
        close(server->listener.fd);
    }
    if (server->spare_fd >= 0)
        close(server->spare_fd);
    free(server->connections);
    free(server);
}
