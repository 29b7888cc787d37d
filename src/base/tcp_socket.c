/* SPDX-License-Identifier: Apache-2.0 */
#include "base/tcp_socket.h"

#include <errno.h>
#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/cleanup.h"

static void cleanup_addresses(struct addrinfo **addresses)
{
    if (*addresses)
        freeaddrinfo(*addresses);
}

static int address_error(struct error *err, const char *address)
{
    return error_set(err, ERROR_INVALID, EINVAL, "\"%.200s\" is not HOST:PORT", address);
}

/* The port behind the last colon: digits only, so that getaddrinfo() asks no service table. */
static const char *port_of(const char *address)
{
    const char *colon = strrchr(address, ':');
    if (!colon || colon == address)
        return NULL;
    size_t digits = strspn(colon + 1, "0123456789");
    bool valid = digits > 0 && digits <= 5 && colon[1 + digits] == '\0';
    return valid && strtoul(colon + 1, NULL, 10) <= UINT16_MAX ? colon + 1 : NULL;
}

static char *host_of(const char *address, const char *port)
{
    size_t length = (size_t)(port - 1 - address);
    if (*address == '[' && address[length - 1] == ']')
        return strndup(address + 1, length - 2);
    return memchr(address, ':', length) ? NULL : strndup(address, length);
}

static struct addrinfo *resolve(const char *address, int flags, struct error *err)
{
    const char *port = port_of(address);
    _cleanup_(free) char *host = port ? host_of(address, port) : NULL;
    if (!host || !*host) {
        address_error(err, address);
        return NULL;
    }
    struct addrinfo hints = {.ai_socktype = SOCK_STREAM, .ai_flags = AI_NUMERICSERV | flags};
    struct addrinfo *found = NULL;
    int r = getaddrinfo(host, port, &hints, &found);
    if (r == 0)
        return found;
    error_set(err, r == EAI_SYSTEM ? ERROR_SYSTEM : ERROR_INVALID,
              r == EAI_SYSTEM ? errno : EADDRNOTAVAIL, "%s: %s", address, gai_strerror(r));
    return NULL;
}

/* A peer that vanished without a word (a cut line, a machine that lost power) is given up on after
 * some two minutes: streams have no other end. Accepted sockets inherit it. */
static int keep_alive(int fd)
{
    static const struct {
        int level, option, value;
    } options[] = {
        {SOL_SOCKET, SO_KEEPALIVE, 1},           {IPPROTO_TCP, TCP_KEEPIDLE, 60}, /* seconds */
        {IPPROTO_TCP, TCP_KEEPINTVL, 15},        {IPPROTO_TCP, TCP_KEEPCNT, 4},
        {IPPROTO_TCP, TCP_USER_TIMEOUT, 120000}, /* milliseconds, for what was sent */
    };
    for (size_t i = 0; i < ARRAY_SIZE(options); i++) {
        if (setsockopt(fd, options[i].level, options[i].option, &options[i].value,
                       sizeof(options[i].value)) < 0)
            return -errno;
    }
    return 0;
}

int tcp_listen(const char *address, struct error *err)
{
    struct error local = {0};
    err = err ? err : &local;
    _cleanup_(addresses) struct addrinfo *found = resolve(address, AI_PASSIVE, err);
    if (!found)
        return -err->errnum;
    _cleanup_(close) int fd = socket(found->ai_family, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (fd < 0)
        return error_errno(err, errno, address, "socket for %s", address);
    /* A tined that starts again must not wait for the connections of the last one to be forgotten.
     */
    int on = 1;
    if (setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on)) < 0)
        return error_errno(err, errno, address, "SO_REUSEADDR for %s", address);
    int r = keep_alive(fd);
    if (r < 0)
        return error_errno(err, -r, address, "keep-alive for %s", address);
    if (bind(fd, found->ai_addr, found->ai_addrlen) < 0)
        return error_errno(err, errno, address, "bind %s", address);
    if (listen(fd, SOMAXCONN) < 0)
        return error_errno(err, errno, address, "listen on %s", address);
    return TAKE_FD(fd);
}

int tcp_connect(const char *address, struct error *err)
{
    struct error local = {0};
    err = err ? err : &local;
    _cleanup_(addresses) struct addrinfo *found = resolve(address, 0, err);
    if (!found)
        return -err->errnum;
    int errnum = 0;
    for (const struct addrinfo *one = found; one; one = one->ai_next) {
        _cleanup_(close) int fd = socket(one->ai_family, SOCK_STREAM | SOCK_CLOEXEC, 0);
        if (fd >= 0 && keep_alive(fd) == 0 && connect(fd, one->ai_addr, one->ai_addrlen) == 0)
            return TAKE_FD(fd);
        errnum = errno;
    }
    return error_errno(err, errnum, address, "connect to %s", address);
}

void tcp_name(int fd, char name[TCP_NAME_SIZE])
{
    struct sockaddr_storage address = {0};
    socklen_t length = sizeof(address);
    char host[48], port[8];
    if (getsockname(fd, (struct sockaddr *)&address, &length) < 0 ||
        getnameinfo((struct sockaddr *)&address, length, host, sizeof(host), port, sizeof(port),
                    NI_NUMERICHOST | NI_NUMERICSERV) != 0)
        snprintf(name, TCP_NAME_SIZE, "?");
    else
        snprintf(name, TCP_NAME_SIZE, address.ss_family == AF_INET6 ? "[%s]:%s" : "%s:%s", host,
                 port);
}
