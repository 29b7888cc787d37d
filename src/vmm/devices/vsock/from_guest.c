/* SPDX-License-Identifier: Apache-2.0 */
/* Packets that the guest sends. Everything in them is hostile: a packet that breaks a rule of its
 * connection ends that connection and nothing else. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#include "base/cleanup.h"
#include "base/unix_socket.h"
#include "vmm/devices/vsock/vsock.h"

#define SHUTDOWN_BOTH (VIRTIO_VSOCK_SHUTDOWN_RCV | VIRTIO_VSOCK_SHUTDOWN_SEND)

/* Writes to the host; returns how many bytes it took, 0 if none now, or a negative errno. */
static ssize_t host_send(const struct connection *connection, struct iovec *pieces, unsigned count)
{
    struct msghdr message = {.msg_iov = pieces, .msg_iovlen = count};
    ssize_t n = 0;
    do {
        n = sendmsg(connection->source.fd, &message, MSG_NOSIGNAL | MSG_DONTWAIT);
    } while (n < 0 && errno == EINTR);
    if (n < 0)
        return errno == EAGAIN ? 0 : -errno;
    return n;
}

/* The guest is told about the room it has when what it knows of has shrunk to half: often enough
 * that it never waits for long, seldom enough to cost little. */
static void note_forwarded(struct connection *connection, size_t count)
{
    connection->forwarded += (uint32_t)count;
    uint32_t known_room = BYTE_RING_SIZE - (connection->received - connection->told);
    if (connection->forwarded != connection->told && known_room <= BYTE_RING_SIZE / 2)
        connection->pending |= PENDING_CREDIT_UPDATE;
}

int connection_flush(struct connection *connection)
{
    struct iovec pieces[2];
    unsigned count = byte_ring_pieces(&connection->to_host, pieces);
    if (count == 0)
        return 0;
    ssize_t n = host_send(connection, pieces, count);
    if (n < 0)
        return (int)n;
    byte_ring_drop(&connection->to_host, (size_t)n);
    note_forwarded(connection, (size_t)n);
    return 0;
}

void connection_advance(struct connection *connection)
{
    bool drained = connection->to_host.used == 0;
    bool ended = (connection->guest_shutdown & VIRTIO_VSOCK_SHUTDOWN_SEND) != 0;
    if (drained && ended && !connection->host_write_closed) {
        connection->host_write_closed = true;
        /* The host may be gone already; then this changes nothing. */
        (void)shutdown(connection->source.fd, SHUT_WR);
    }
    if (connection->guest_shutdown == SHUTDOWN_BOTH)
        connection_release(connection);
    else
        connection_settle(connection);
}

/* ---- one function per operation; each may free the connection ---- */

static void guest_breaks_rule(struct connection *connection, const struct virtio_vsock_hdr *header,
                              const struct virtqueue_chain *chain)
{
    connection_kill(connection);
}

static void guest_responds(struct connection *connection, const struct virtio_vsock_hdr *header,
                           const struct virtqueue_chain *chain)
{
    char line[32];
    if (connection->state != CONNECTION_REQUESTED) {
        connection_kill(connection);
        return;
    }
    int length = snprintf(line, sizeof(line), "OK %u\n", connection->host_port);
    struct iovec piece = {.iov_base = line, .iov_len = (size_t)length};
    /* The socket is fresh: it takes the line whole, or its client is gone. */
    if (host_send(connection, &piece, 1) != length) {
        connection_kill(connection);
        return;
    }
    connection->state = CONNECTION_ESTABLISHED;
    connection->deadline = 0;
    connection_settle(connection);
}

static void guest_resets(struct connection *connection, const struct virtio_vsock_hdr *header,
                         const struct virtqueue_chain *chain)
{
    connection_free(connection);
}

static void guest_shuts_down(struct connection *connection, const struct virtio_vsock_hdr *header,
                             const struct virtqueue_chain *chain)
{
    if (connection->state != CONNECTION_ESTABLISHED) {
        connection_kill(connection);
        return;
    }
    connection->guest_shutdown |= header->flags & SHUTDOWN_BOTH;
    if (connection->guest_shutdown & VIRTIO_VSOCK_SHUTDOWN_RCV) {
        connection->pending &= ~(unsigned)(PENDING_DATA | PENDING_CREDIT_REQUEST);
        /* From now on the host gets EPIPE for what nobody will read. */
        (void)shutdown(connection->source.fd, SHUT_RD);
    }
    connection_advance(connection);
}

/* Passes on what the host takes now; the rest of the packet is buffered. */
static int forward(struct connection *connection, const struct virtqueue_chain *chain,
                   size_t length)
{
    struct iovec pieces[VIRTQUEUE_MAX_SIZE];
    ssize_t sent = 0;
    if (connection->to_host.used == 0) {
        unsigned count = vsock_packet_pieces(chain->readable, chain->readable_count,
                                             VSOCK_HEADER_SIZE, length, pieces);
        sent = host_send(connection, pieces, count);
        if (sent < 0)
            return (int)sent;
    }
    unsigned count =
        vsock_packet_pieces(chain->readable, chain->readable_count,
                            VSOCK_HEADER_SIZE + (size_t)sent, length - (size_t)sent, pieces);
    for (unsigned i = 0; i < count; i++) {
        int r = byte_ring_append(&connection->to_host, pieces[i].iov_base, pieces[i].iov_len);
        if (r < 0)
            return r;
    }
    connection->received += (uint32_t)length;
    note_forwarded(connection, (size_t)sent);
    return 0;
}

static void guest_sends(struct connection *connection, const struct virtio_vsock_hdr *header,
                        const struct virtqueue_chain *chain)
{
    if (connection->state == CONNECTION_CLOSING)
        return; /* sent before the guest saw our SHUTDOWN; nobody is left to read it */
    if (connection->state != CONNECTION_ESTABLISHED ||
        (connection->guest_shutdown & VIRTIO_VSOCK_SHUTDOWN_SEND) ||
        header->len > byte_ring_free(&connection->to_host) || /* more than its credit */
        (header->len > 0 && forward(connection, chain, header->len) < 0)) {
        connection_kill(connection);
        return;
    }
    connection_settle(connection);
}

static void guest_tells_credit(struct connection *connection, const struct virtio_vsock_hdr *header,
                               const struct virtqueue_chain *chain)
{
    connection_settle(connection);
}

static void guest_asks_credit(struct connection *connection, const struct virtio_vsock_hdr *header,
                              const struct virtqueue_chain *chain)
{
    connection->pending |= PENDING_CREDIT_UPDATE;
    connection_settle(connection);
}

typedef void guest_operation(struct connection *connection, const struct virtio_vsock_hdr *header,
                             const struct virtqueue_chain *chain);

static guest_operation *const operations[] = {
    [VIRTIO_VSOCK_OP_INVALID] = guest_breaks_rule,
    [VIRTIO_VSOCK_OP_REQUEST] = guest_breaks_rule, /* there is such a connection already */
    [VIRTIO_VSOCK_OP_RESPONSE] = guest_responds,
    [VIRTIO_VSOCK_OP_RST] = guest_resets,
    [VIRTIO_VSOCK_OP_SHUTDOWN] = guest_shuts_down,
    [VIRTIO_VSOCK_OP_RW] = guest_sends,
    [VIRTIO_VSOCK_OP_CREDIT_UPDATE] = guest_tells_credit,
    [VIRTIO_VSOCK_OP_CREDIT_REQUEST] = guest_asks_credit,
};

/* ---- packets without a connection ---- */

/* Connects to `<uds_path>_<port>`; a negative errno if nobody listens there. */
static int host_connect(const struct vsock *vsock, uint32_t port)
{
    _cleanup_(free) char *path = NULL;
    if (asprintf(&path, "%s_%u", vsock->uds_path, port) < 0)
        return -ENOMEM;
    return unix_connect(path, SOCK_NONBLOCK, NULL);
}

static void guest_connects(struct vsock *vsock, const struct virtio_vsock_hdr *header)
{
    struct connection *connection = NULL;
    int fd = vsock_has_place(vsock) ? host_connect(vsock, header->dst_port) : -EMFILE;
    if (fd >= 0)
        connection = connection_create(vsock, fd, CONNECTION_ESTABLISHED);
    if (!connection) {
        vsock_reset_packet(vsock, header);
        return;
    }
    connection->host_port = header->dst_port;
    connection->guest_port = header->src_port;
    connection->guest_buf_alloc = header->buf_alloc;
    connection->guest_fwd_cnt = header->fwd_cnt;
    connection->pending = PENDING_RESPONSE;
    vsock_index(vsock, connection);
    vsock_update_accepting(vsock);
    connection_settle(connection);
}

static bool addressed_right(const struct vsock *vsock, const struct virtio_vsock_hdr *header)
{
    return header->type == VIRTIO_VSOCK_TYPE_STREAM && header->dst_cid == VSOCK_HOST_CID &&
           header->src_cid == vsock->guest_cid;
}

void vsock_receive(struct vsock *vsock, const struct virtio_vsock_hdr *header,
                   const struct virtqueue_chain *chain)
{
    struct connection *connection = addressed_right(vsock, header)
                                        ? vsock_find(vsock, header->dst_port, header->src_port)
                                        : NULL;
    if (connection) {
        connection->guest_buf_alloc = header->buf_alloc;
        connection->guest_fwd_cnt = header->fwd_cnt;
        connection->credit_requested = false;
        guest_operation *operation =
            header->op < ARRAY_SIZE(operations) ? operations[header->op] : guest_breaks_rule;
        operation(connection, header, chain);
    } else if (addressed_right(vsock, header) && header->op == VIRTIO_VSOCK_OP_REQUEST) {
        guest_connects(vsock, header);
    } else if (header->op != VIRTIO_VSOCK_OP_RST) {
        vsock_reset_packet(vsock, header);
    }
}
