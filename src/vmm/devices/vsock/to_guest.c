/* SPDX-License-Identifier: Apache-2.0 */
/* Packets for the guest's receive queue. Data goes straight from the host's socket into the guest's
 * buffers and is read only when there is a buffer and credit for it, so it waits in the socket. */
#include <errno.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#include "base/log.h"
#include "vmm/devices/vsock/vsock.h"

#define PACKETS_PER_TURN 256u
#define SHUTDOWN_BOTH    (VIRTIO_VSOCK_SHUTDOWN_RCV | VIRTIO_VSOCK_SHUTDOWN_SEND)

/* ---- resets for packets without a connection ---- */

static void reset_put(struct vsock *vsock, const struct vsock_reset *reset)
{
    if (!vsock->resets)
        vsock->resets = calloc(VSOCK_MAX_RESETS, sizeof(*vsock->resets));
    /* A guest that provokes resets and takes none waits for its own time-outs. */
    if (!vsock->resets || vsock->reset_count == VSOCK_MAX_RESETS)
        return;
    unsigned place = (vsock->reset_start + vsock->reset_count++) % VSOCK_MAX_RESETS;
    vsock->resets[place] = *reset;
}

void vsock_reset_packet(struct vsock *vsock, const struct virtio_vsock_hdr *header)
{
    const struct vsock_reset reset = {.source_cid = header->dst_cid,
                                      .source_port = header->dst_port,
                                      .guest_port = header->src_port,
                                      .type = header->type};
    reset_put(vsock, &reset);
}

void vsock_reset_ports(struct vsock *vsock, uint32_t host_port, uint32_t guest_port)
{
    const struct vsock_reset reset = {.source_cid = VSOCK_HOST_CID,
                                      .source_port = host_port,
                                      .guest_port = guest_port,
                                      .type = VIRTIO_VSOCK_TYPE_STREAM};
    reset_put(vsock, &reset);
}

static size_t reset_write(struct vsock *vsock, const struct virtqueue_chain *chain)
{
    const struct vsock_reset *reset = &vsock->resets[vsock->reset_start];
    const struct virtio_vsock_hdr header = {.src_cid = reset->source_cid,
                                            .dst_cid = vsock->guest_cid,
                                            .src_port = reset->source_port,
                                            .dst_port = reset->guest_port,
                                            .type = reset->type,
                                            .op = VIRTIO_VSOCK_OP_RST};
    vsock->reset_start = (vsock->reset_start + 1) % VSOCK_MAX_RESETS;
    vsock->reset_count--;
    return virtqueue_write(chain, 0, &header, sizeof(header));
}

/* ---- packets of a connection ---- */

/* Writes the header; every one carries our credit, so an update that was due is done with. */
static size_t packet_write(struct connection *connection, const struct virtqueue_chain *chain,
                           uint16_t op, uint32_t flags, size_t data)
{
    const struct virtio_vsock_hdr header = {
        .src_cid = VSOCK_HOST_CID,
        .dst_cid = connection->vsock->guest_cid,
        .src_port = connection->host_port,
        .dst_port = connection->guest_port,
        .len = (uint32_t)data,
        .type = VIRTIO_VSOCK_TYPE_STREAM,
        .op = op,
        .flags = flags,
        .buf_alloc = BYTE_RING_SIZE,
        .fwd_cnt = connection->forwarded,
    };
    connection->told = connection->forwarded;
    connection->pending &= ~(unsigned)PENDING_CREDIT_UPDATE;
    return virtqueue_write(chain, 0, &header, sizeof(header)) + data;
}

static bool host_hung_up(const struct connection *connection)
{
    struct pollfd poller = {.fd = connection->source.fd};
    return poll(&poller, 1, 0) == 1 && (poller.revents & (POLLHUP | POLLERR));
}

/* The host sends no more: by shutdown(2), or because it is gone altogether. */
static void note_end_of_file(struct connection *connection)
{
    connection->host_eof = true;
    connection->pending |= PENDING_SHUTDOWN;
    if (host_hung_up(connection)) {
        connection->state = CONNECTION_CLOSING;
        connection->forwarded = connection->received;
        byte_ring_clear(&connection->to_host);
        connection_set_deadline(connection, VSOCK_LINGER_NS);
    }
}

/* Reads from the host behind the header of `chain`: how many bytes, or a negative errno. */
static ssize_t host_receive(const struct connection *connection,
                            const struct virtqueue_chain *chain)
{
    struct iovec pieces[VIRTQUEUE_MAX_SIZE];
    uint32_t credit = connection_credit(connection);
    uint64_t room = chain->writable_bytes - VSOCK_HEADER_SIZE;
    struct msghdr message = {.msg_iov = pieces};
    message.msg_iovlen =
        vsock_packet_pieces(chain->writable, chain->writable_count, VSOCK_HEADER_SIZE,
                            room < credit ? room : credit, pieces);
    if (message.msg_iovlen == 0)
        return -ENOBUFS;
    ssize_t n = 0;
    do {
        n = recvmsg(connection->source.fd, &message, MSG_DONTWAIT);
    } while (n < 0 && errno == EINTR);
    return n < 0 ? -errno : n;
}

/* One packet of data, or 0: there is none now, and `pending` says what follows from that. -1: the
 * host reset the connection. */
static ssize_t data_write(struct connection *connection, const struct virtqueue_chain *chain)
{
    if (connection_credit(connection) == 0) {
        connection->pending &= ~(unsigned)PENDING_DATA;
        if (!connection->credit_requested)
            connection->pending |= PENDING_CREDIT_REQUEST;
        return 0;
    }
    ssize_t n = host_receive(connection, chain);
    if (n > 0) {
        connection->sent += (uint32_t)n;
        return (ssize_t)packet_write(connection, chain, VIRTIO_VSOCK_OP_RW, 0, (size_t)n);
    }
    /* A buffer with room for the header only is used up by a packet without data. */
    if (n == -ENOBUFS)
        return (ssize_t)packet_write(connection, chain, VIRTIO_VSOCK_OP_CREDIT_UPDATE, 0, 0);
    connection->pending &= ~(unsigned)PENDING_DATA;
    if (n == 0)
        note_end_of_file(connection);
    return n == 0 || n == -EAGAIN ? 0 : -1;
}

static size_t shutdown_write(struct connection *connection, const struct virtqueue_chain *chain)
{
    uint32_t flags =
        connection->state == CONNECTION_CLOSING ? SHUTDOWN_BOTH : VIRTIO_VSOCK_SHUTDOWN_SEND;
    return packet_write(connection, chain, VIRTIO_VSOCK_OP_SHUTDOWN, flags, 0);
}

static bool take(struct connection *connection, unsigned what)
{
    bool pending = (connection->pending & what) != 0;
    connection->pending &= ~what;
    return pending;
}

/* The next packet of a connection: its length, 0 if there is none, -1 if the connection must end.
 */
static ssize_t connection_write(struct connection *connection, const struct virtqueue_chain *chain)
{
    if (take(connection, PENDING_REQUEST)) {
        connection_set_deadline(connection, VSOCK_REQUEST_NS);
        return (ssize_t)packet_write(connection, chain, VIRTIO_VSOCK_OP_REQUEST, 0, 0);
    }
    if (take(connection, PENDING_RESPONSE))
        return (ssize_t)packet_write(connection, chain, VIRTIO_VSOCK_OP_RESPONSE, 0, 0);
    if (connection->pending & PENDING_DATA) {
        ssize_t n = data_write(connection, chain);
        if (n != 0)
            return n;
    }
    if (take(connection, PENDING_SHUTDOWN))
        return (ssize_t)shutdown_write(connection, chain);
    if (take(connection, PENDING_CREDIT_UPDATE))
        return (ssize_t)packet_write(connection, chain, VIRTIO_VSOCK_OP_CREDIT_UPDATE, 0, 0);
    if (take(connection, PENDING_CREDIT_REQUEST)) {
        connection->credit_requested = true;
        return (ssize_t)packet_write(connection, chain, VIRTIO_VSOCK_OP_CREDIT_REQUEST, 0, 0);
    }
    return 0;
}

/* Lets the connection whose turn it is write; it goes to the end of the queue if it has more. */
static size_t turn(struct vsock *vsock, const struct virtqueue_chain *chain)
{
    struct connection *connection = TAILQ_FIRST(&vsock->waiting);
    TAILQ_REMOVE(&vsock->waiting, connection, in_waiting);
    connection->waiting = false;
    ssize_t n = connection_write(connection, chain);
    if (n < 0) {
        connection_kill(connection);
        return 0;
    }
    connection_settle(connection);
    return (size_t)n;
}

static bool something_waits(const struct vsock *vsock)
{
    return vsock->reset_count > 0 || !TAILQ_EMPTY(&vsock->waiting);
}

/* The guest's next buffer. Without one, the guest is asked to notify when it adds one. */
static bool next_buffer(struct vsock *vsock, struct virtqueue_chain *chain)
{
    struct virtqueue *queue = &vsock->device.queues[VSOCK_RX];
    int r = virtqueue_pop(queue, chain);
    if (r == 0) {
        virtqueue_enable_notification(queue, true);
        r = virtqueue_pop(queue, chain); /* it may have come meanwhile */
    }
    return r == 1;
}

/* Uses one buffer for what waits. */
static void fill_one(struct vsock *vsock, const struct virtqueue_chain *chain)
{
    struct virtqueue *queue = &vsock->device.queues[VSOCK_RX];
    if (chain->writable_bytes < VSOCK_HEADER_SIZE) {
        virtio_complain(&vsock->device, "a receive buffer of %llu bytes",
                        (unsigned long long)chain->writable_bytes);
        virtqueue_push(queue, chain->head, 0);
        return;
    }
    size_t length = vsock->reset_count > 0 ? reset_write(vsock, chain) : turn(vsock, chain);
    if (length > 0)
        virtqueue_push(queue, chain->head, (uint32_t)length);
    else
        virtqueue_undo_pop(queue);
}

void vsock_fill(struct vsock *vsock)
{
    struct virtqueue_chain chain;
    unsigned turns = 0;
    if (!virtio_device_active(&vsock->device) || vsock->reset_stage != RESET_NONE)
        return;
    while (something_waits(vsock) && turns < PACKETS_PER_TURN && next_buffer(vsock, &chain)) {
        fill_one(vsock, &chain);
        turns++;
    }
    if (turns == PACKETS_PER_TURN)
        virtio_notify_again(&vsock->device, VSOCK_RX);
    virtio_signal_queue(&vsock->device, VSOCK_RX);
}
