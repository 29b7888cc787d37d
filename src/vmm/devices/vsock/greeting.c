/* SPDX-License-Identifier: Apache-2.0 */
/* What a host client says first: "CONNECT <port>\n". It may come in pieces, and data may follow in
 * the same write, which stays in the socket. */
#include <errno.h>
#include <string.h>
#include <strings.h>
#include <sys/socket.h>

#include "vmm/devices/vsock/vsock.h"

int vsock_parse_connect(const char *line, uint32_t *port)
{
    static const char keyword[] = "CONNECT ";
    if (strncasecmp(line, keyword, sizeof(keyword) - 1) != 0)
        return -EPROTO;
    const char *digits = line + sizeof(keyword) - 1;
    size_t count = strspn(digits, "0123456789");
    uint64_t number = 0;
    if (count == 0 || count > 10 || digits[count] != '\0')
        return -EPROTO;
    for (size_t i = 0; i < count; i++)
        number = number * 10 + (uint64_t)(digits[i] - '0');
    /* 2^32 - 1 is the "any" port. */
    if (number >= UINT32_MAX)
        return -EPROTO;
    *port = (uint32_t)number;
    return 0;
}

/* Takes bytes up to the newline, or all there are: 1 with the whole line, 0 if more is needed, -1
 * if the client is gone or talks something else. */
static int read_line(struct connection *connection)
{
    char *end = connection->line + connection->line_length;
    size_t room = VSOCK_LINE_MAX - connection->line_length;
    ssize_t seen = recv(connection->source.fd, end, room, MSG_PEEK);
    if (seen < 0)
        return errno == EAGAIN || errno == EINTR ? 0 : -1;
    const char *newline = memchr(end, '\n', (size_t)seen);
    size_t taken = newline ? (size_t)(newline - end) + 1 : (size_t)seen;
    if (taken == 0 || (!newline && taken == room))
        return -1;
    if (recv(connection->source.fd, end, taken, 0) != (ssize_t)taken)
        return -1;
    connection->line_length += taken;
    if (!newline)
        return 0;
    connection->line[connection->line_length - 1] = '\0';
    return 1;
}

void connection_greet(struct connection *connection)
{
    struct vsock *vsock = connection->vsock;
    int r = read_line(connection);
    if (r == 0)
        return;
    if (r < 0 || vsock_parse_connect(connection->line, &connection->guest_port) < 0) {
        connection_free(connection);
        return;
    }
    connection->host_port = vsock_new_host_port(vsock, connection->guest_port);
    connection->state = CONNECTION_REQUESTED;
    connection->deadline = 0; /* the guest's time runs from when it gets the request */
    connection->pending = PENDING_REQUEST;
    vsock_index(vsock, connection);
    connection_settle(connection);
}
