/* SPDX-License-Identifier: Apache-2.0 */
#include "pager/handshake.h"

#include <errno.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/clock.h"
#include "base/log.h"
#include "base/unix_socket.h"
#include "http/descriptors.h"
#include "pager/uffd.h"

#define TEXT_LIMIT 65536u /* bytes; a region takes some 150 */

struct handshake {
    struct handshake_config config;
    char *path;
    struct loop *loop;
    struct loop_source listener, connection; /* -1: none */
    struct ucred credentials;                /* of the connection */
    uint64_t deadline_ns;
    int uffd; /* the descriptor that came; -1: none yet */
    char text[TEXT_LIMIT];
    size_t length;
};

static void connection_close(struct handshake *handshake)
{
    if (handshake->connection.fd >= 0) {
        loop_remove(handshake->loop, &handshake->connection);
        close(handshake->connection.fd);
    }
    handshake->connection.fd = -1;
}

static void finish(struct handshake *handshake, const struct error *err)
{
    handshake->config.done(handshake->config.context, NULL, err);
}

static void refuse(struct handshake *handshake, const char *why)
{
    struct error err = {0};
    error_set(&err, ERROR_INVALID, EPROTO, "handshake: %s", why);
    finish(handshake, &err);
}

static void succeed(struct handshake *handshake, const struct region_table *regions)
{
    struct handshake_peer peer = {
        .uffd = TAKE_FD(handshake->uffd),
        .pid = handshake->credentials.pid,
        .uid = handshake->credentials.uid,
        .regions = *regions,
    };
    loop_remove(handshake->loop, &handshake->connection);
    peer.socket = TAKE_FD(handshake->connection.fd);
    handshake->config.done(handshake->config.context, &peer, NULL);
    cleanup_close(&peer.uffd);
    cleanup_close(&peer.socket);
}

/* Looks whether the text is complete. */
static void text_grown(struct handshake *handshake)
{
    struct error err = {0};
    struct region_table regions;
    int r = regions_parse(handshake->text, handshake->length, &regions, &err);
    if (r == -EAGAIN && handshake->length == TEXT_LIMIT) {
        refuse(handshake, "the regions are longer than 65536 bytes");
        return;
    }
    if (r == -EAGAIN)
        return;
    if (r == 0 && handshake->uffd < 0)
        r = error_set(&err, ERROR_INVALID, EPROTO, "no descriptor came with the regions");
    if (r == 0)
        r = uffd_accept(handshake->uffd, &err);
    if (r == 0) {
        succeed(handshake, &regions);
        return;
    }
    error_wrap(&err, "handshake");
    finish(handshake, &err);
}

static void connection_ready(struct loop_source *source, uint32_t events)
{
    struct handshake *handshake = CONTAINER_OF(source, struct handshake, connection);
    int fds[2] = {-1, -1};
    size_t count = 0;
    bool too_many = false;
    ssize_t n = descriptors_receive(source->fd, handshake->text + handshake->length,
                                    TEXT_LIMIT - handshake->length, fds, 2, &count, &too_many);
    if (n < 0 && (errno == EAGAIN || errno == EINTR))
        return;
    if (count > 0 && handshake->uffd < 0)
        handshake->uffd = TAKE_FD(fds[0]);
    else if (count > 0)
        too_many = true;
    too_many |= count > 1;
    cleanup_close(&fds[0]);
    cleanup_close(&fds[1]);
    if (too_many) {
        refuse(handshake, "more than one descriptor came");
    } else if (n <= 0) {
        refuse(handshake, "the peer closed before its regions were complete");
    } else {
        handshake->length += (size_t)n;
        text_grown(handshake);
    }
}

static bool is_allowed(struct handshake *handshake, int fd)
{
    socklen_t size = sizeof(handshake->credentials);
    if (getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &handshake->credentials, &size) < 0)
        return false;
    if (handshake->credentials.uid == handshake->config.uid)
        return true;
    log_warning("%s: user %u may not connect, only %u", handshake->path, handshake->credentials.uid,
                handshake->config.uid);
    return false;
}

static void listener_ready(struct loop_source *source, uint32_t events)
{
    struct handshake *handshake = CONTAINER_OF(source, struct handshake, listener);
    struct error err = {0};
    _cleanup_(close) int fd = accept4(source->fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
    /* One that comes second while the first is at it is not the VM. */
    if (fd < 0 || handshake->connection.fd >= 0 || !is_allowed(handshake, fd))
        return;
    handshake->connection.fd = fd;
    if (loop_add(handshake->loop, &handshake->connection, EPOLLIN, &err) < 0) {
        handshake->connection.fd = -1;
        log_warning("%s: %s", handshake->path, err.message);
        return;
    }
    (void)TAKE_FD(fd);
    handshake->deadline_ns = time_after_ms(handshake->config.timeout_ms);
}

void handshake_tick(struct handshake *handshake, uint64_t now_ns)
{
    if (handshake->connection.fd >= 0 && now_ns >= handshake->deadline_ns)
        refuse(handshake, "the peer connected and did not send its regions in time");
}

/* For the one user who may connect; who else could is kept out by the mode. */
static int socket_listen(struct handshake *handshake, struct error *err)
{
    const char *path = handshake->path;
    mode_t mask = umask(0177);
    handshake->listener.fd = unix_listen(path, SOCK_NONBLOCK, err);
    umask(mask);
    if (handshake->listener.fd < 0)
        return handshake->listener.fd;
    if (handshake->config.uid != geteuid() && lchown(path, handshake->config.uid, (gid_t)-1) < 0)
        return error_errno(err, errno, path, "give %s to user %u", path, handshake->config.uid);
    return loop_add(handshake->loop, &handshake->listener, EPOLLIN, err);
}

struct handshake *handshake_create(const struct handshake_config *config, struct loop *loop,
                                   struct error *err)
{
    struct handshake *handshake = malloc(sizeof(*handshake));
    if (!handshake) {
        error_errno(err, ENOMEM, config->path, "listen on %s", config->path);
        return NULL;
    }
    *handshake = (struct handshake){
        .config = *config,
        .path = strdup(config->path),
        .loop = loop,
        .listener = {.fd = -1, .ready = listener_ready},
        .connection = {.fd = -1, .ready = connection_ready},
        .uffd = -1,
    };
    int r = handshake->path ? socket_listen(handshake, err)
                            : error_errno(err, ENOMEM, NULL, "listen on %s", config->path);
    if (r < 0) {
        handshake_destroy(handshake);
        return NULL;
    }
    return handshake;
}

void handshake_destroy(struct handshake *handshake)
{
    if (!handshake)
        return;
    connection_close(handshake);
    if (handshake->listener.fd >= 0) {
        loop_remove(handshake->loop, &handshake->listener);
        close(handshake->listener.fd);
        unlink(handshake->path); /* gone already is as good */
    }
    cleanup_close(&handshake->uffd);
    free(handshake->path);
    free(handshake);
}
