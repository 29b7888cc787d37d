/* SPDX-License-Identifier: Apache-2.0 */
#include "api/doors.h"

#include "base/log.h"
#include "base/tcp_socket.h"

static int unix_open(struct listen_claim *claim, struct server *server,
                     const struct tined_options *options, struct error *err)
{
    int fd = listen_claim(claim, options->socket, err);
    if (fd < 0)
        return fd;
    int r = server_listen(server, fd, false, err);
    if (r < 0)
        listen_release(claim);
    else
        log_info("tined %s serves %s, data in %s", TINE_VERSION, options->socket,
                 options->data_dir);
    return r;
}

static int tcp_open(struct server *server, const struct tined_options *options, struct error *err)
{
    char name[TCP_NAME_SIZE];
    int fd = tcp_listen(options->listen, err);
    if (fd < 0)
        return fd;
    tcp_name(fd, name);
    int r = server_listen(server, fd, true, err);
    if (r == 0)
        log_info("tined serves http://%s, for clients with a token", name);
    return r;
}

int doors_open(struct listen_claim *claim, struct server *server,
               const struct tined_options *options, struct error *err)
{
    int r = server_start(server, err);
    if (r < 0)
        return r;
    r = unix_open(claim, server, options, err);
    if (r == 0 && options->listen) {
        r = tcp_open(server, options, err);
        if (r < 0)
            listen_release(claim);
    }
    if (r < 0)
        server_stop(server);
    return r;
}
