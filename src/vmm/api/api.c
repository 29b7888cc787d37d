/* SPDX-License-Identifier: Apache-2.0 */
/* The listening socket and the places for connections. */
#include "vmm/api/api.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/log.h"
#include "base/unix_socket.h"
#include "vmm/api/api_private.h"
#include "vmm/api/http_response.h"

static int open_spare(void)
{
    return open("/dev/null", O_RDONLY | O_CLOEXEC);
}

static struct connection **free_place(struct api *api)
{
    for (unsigned i = 0; i < API_MAX_CONNECTIONS; i++) {
        if (!api->connections[i])
            return &api->connections[i];
    }
    return NULL;
}

/* Answers 503 without reading the request, as far as the socket takes it: nobody waits for it. */
static void turn_away(int fd)
{
    char scratch[1024];
    size_t length = 0;
    _cleanup_(free) char *body = http_error_body("error", "too many open connections", 0);
    _cleanup_(free) char *text = http_response(STATUS_BUSY, body, true, &length);
    if (text && send(fd, text, length, MSG_NOSIGNAL | MSG_DONTWAIT) < 0)
        log_debug("api: a refused client is already gone");
    /* Unread bytes at close would reach the client as a reset. */
    while (recv(fd, scratch, sizeof(scratch), MSG_DONTWAIT) > 0)
        ;
    close(fd);
}

/* With no descriptor left the client would stay in the backlog and the listener ready for ever. */
static void accept_without_descriptors(struct api *api)
{
    if (api->spare_fd >= 0)
        close(api->spare_fd);
    int fd = accept4(api->listener.fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
    if (fd >= 0)
        turn_away(fd);
    api->spare_fd = open_spare();
    log_warning("api: no file descriptor left for a client");
}

static void listener_ready(struct loop_source *source, uint32_t events)
{
    struct api *api = CONTAINER_OF(source, struct api, listener);
    struct error err = {0};
    int fd = accept4(source->fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
    if (fd < 0 && (errno == EMFILE || errno == ENFILE)) {
        accept_without_descriptors(api);
        return;
    }
    if (fd < 0)
        return; /* the client gave up before it was its turn */
    struct connection **place = free_place(api);
    if (!place) {
        turn_away(fd);
        return;
    }
    *place = api_connection_create(api, fd, &err);
    if (!*place)
        log_warning("api: client refused: %s", err.message);
}

void api_connection_closed(struct api *api, struct connection *connection)
{
    for (unsigned i = 0; i < API_MAX_CONNECTIONS; i++) {
        if (api->connections[i] == connection)
            api->connections[i] = NULL;
    }
    api_connection_destroy(connection);
}

struct api *api_create(const char *socket_path, size_t body_limit, struct loop *loop,
                       struct vmm *vmm, struct error *err)
{
    struct api *api = calloc(1, sizeof(*api));
    if (!api) {
        error_errno(err, ENOMEM, socket_path, "API socket %s", socket_path);
        return NULL;
    }
    api->loop = loop;
    api->vmm = vmm;
    api->body_limit = body_limit;
    api->spare_fd = open_spare();
    api->listener.ready = listener_ready;
    api->listener.fd = unix_listen(socket_path, SOCK_NONBLOCK, err);
    if (api->listener.fd < 0 || loop_add(loop, &api->listener, EPOLLIN, err) < 0) {
        api_destroy(api);
        return NULL;
    }
    return api;
}

void api_destroy(struct api *api)
{
    if (!api)
        return;
    for (unsigned i = 0; i < API_MAX_CONNECTIONS; i++)
        api_connection_destroy(api->connections[i]);
    if (api->listener.fd >= 0) {
        loop_remove(api->loop, &api->listener);
        close(api->listener.fd);
    }
    if (api->spare_fd >= 0)
        close(api->spare_fd);
    free(api->metrics_path);
    free(api);
}
