/* SPDX-License-Identifier: Apache-2.0 */
/* The socket device (virtio 1.2, section 5.10) in front of unix sockets, with Firecracker's
 * protocol on the host's side: a client connects to `uds_path` and writes "CONNECT <port>\n", and
 * is told "OK <host port>\n" once the guest has accepted; a guest that connects to CID 2, port P,
 * reaches whoever listens on `<uds_path>_<P>`.
 *
 * This header is what the files of this folder share. */
#ifndef TINE_VMM_DEVICES_VSOCK_VSOCK_H
#define TINE_VMM_DEVICES_VSOCK_VSOCK_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/queue.h>

#include "vmm/devices/virtio.h"
#include "vmm/devices/vsock/byte_ring.h"
#include "vmm/devices/vsock/packet.h"

#define VSOCK_MAX_CONNECTIONS 1023u
#define VSOCK_SPARE_FDS       256u  /* or a quarter of them: what connections leave to the VMM */
#define VSOCK_MAX_RESETS      1024u /* resets for nobody's connections that wait for the guest */
#define VSOCK_BUCKETS         256u
/* Ports of host clients. Their range is far from ports that guests connect to on purpose. */
#define VSOCK_FIRST_HOST_PORT (1u << 30)
#define VSOCK_LAST_HOST_PORT  ((1u << 31) - 1)
#define VSOCK_LINE_MAX        32u /* bytes of "CONNECT <port>\n" */

/* Time limits, for the guest or a client to do the next step. */
#define VSOCK_GREETING_NS (30ull * 1000000000) /* a client sends its whole CONNECT line */
#define VSOCK_REQUEST_NS  (10ull * 1000000000) /* the guest answers a request */
#define VSOCK_LINGER_NS   (5ull * 1000000000)  /* the guest closes what the host has closed */
#define VSOCK_ACCEPT_NS   (100ull * 1000000)   /* next try after descriptors ran out */

enum { VSOCK_RX = 0, VSOCK_TX = 1, VSOCK_EVENT = 2, VSOCK_QUEUES = 3 };

enum connection_state {
    CONNECTION_GREETING,  /* a host client that has not said CONNECT yet; the guest knows nothing */
    CONNECTION_REQUESTED, /* the guest is asked and has not answered */
    CONNECTION_ESTABLISHED, /* data flows, in one direction at least */
    CONNECTION_CLOSING,     /* the host is gone; the guest knows or will know */
    CONNECTION_DRAINING,    /* the guest is done and knows it; what it sent goes on to the host */
};

/* What a connection has to tell the guest, as bits. */
enum {
    PENDING_REQUEST = 1,
    PENDING_RESPONSE = 2,
    PENDING_DATA = 4, /* the host's socket is readable */
    PENDING_SHUTDOWN = 8,
    PENDING_CREDIT_UPDATE = 16,
    PENDING_CREDIT_REQUEST = 32,
};

struct vsock;

struct connection {
    struct loop_source source; /* the host's socket */
    struct vsock *vsock;
    LIST_ENTRY(connection) all;
    LIST_ENTRY(connection) bucket;      /* not while greeting or draining */
    TAILQ_ENTRY(connection) in_waiting; /* while `waiting` */
    enum connection_state state;
    bool waiting;
    int interest; /* events the loop watches for; -1: not in the loop */
    unsigned pending;
    uint32_t host_port, guest_port;
    uint64_t deadline; /* monotonic nanoseconds; 0: none */
    /* Towards the guest: it has room for guest_buf_alloc - (sent - guest_fwd_cnt) bytes (5.10.6.3).
     */
    uint32_t guest_buf_alloc, guest_fwd_cnt, sent;
    bool credit_requested;
    /* From the guest: all bytes received, those passed on to the host, and how many of these the
     * guest knows of. */
    uint32_t received, forwarded, told;
    struct byte_ring to_host; /* received - forwarded bytes */
    uint32_t guest_shutdown;  /* VIRTIO_VSOCK_SHUTDOWN_*, as the guest told */
    bool host_eof;            /* the host sends no more */
    bool host_write_closed;   /* the host was told that no more comes */
    char line[VSOCK_LINE_MAX + 1];
    size_t line_length;
};

LIST_HEAD(connection_list, connection);
TAILQ_HEAD(connection_queue, connection);

/* A reset for a packet that belongs to no connection (any more). */
struct vsock_reset {
    uint64_t source_cid; /* whom the packet was for */
    uint32_t source_port, guest_port;
    uint16_t type;
};

/* The transport-reset event of 5.10.6.7 on its way. Until the guest has dealt with it, nothing is
 * put into its receive queue: it would take new packets for those of connections it still has. */
enum reset_stage {
    RESET_NONE = 0,
    RESET_WANTED = 1, /* the guest has no buffer for it yet */
    RESET_SENT = 2,   /* until the guest puts a buffer back */
};

struct vsock {
    struct virtio_device device;
    bool up; /* the driver is there: between activate and reset */
    uint64_t guest_cid;
    char *uds_path;
    struct loop_source listener;
    bool accepting;           /* the listener is in the loop */
    struct loop_source timer; /* for the nearest deadline */
    uint64_t timer_deadline;  /* 0: not armed */
    uint64_t accept_again;    /* when to accept again after descriptors ran out; 0: now */
    struct connection_list connections, buckets[VSOCK_BUCKETS];
    struct connection_queue waiting; /* connections with something to tell the guest */
    unsigned connection_count;
    uint32_t last_host_port;
    struct vsock_reset *resets; /* ring of VSOCK_MAX_RESETS; NULL until first used */
    unsigned reset_start, reset_count;
    enum reset_stage reset_stage;
    uint16_t event_available; /* the event queue's available index when the event was sent */
};

/* ---- connection.c: one connection ---- */

/* Takes `fd` over, also on failure (NULL). The connection is counted and in `connections`. */
struct connection *connection_create(struct vsock *vsock, int fd, enum connection_state state);
/* Closes and frees it; the guest is not told. */
void connection_free(struct connection *connection);
/* Tells the guest by a reset, then frees it. */
void connection_kill(struct connection *connection);
/* The guest has closed it, which the reset completes. What it sent still goes to the host, for as
 * long as the host's end is open. May free it. */
void connection_release(struct connection *connection);
/* To be called last after anything happened: watches what is to be watched and joins the queue of
 * those that wait for the guest's buffers. May kill the connection. */
void connection_settle(struct connection *connection);
/* Room the guest has left for data. */
uint32_t connection_credit(const struct connection *connection);
void connection_set_deadline(struct connection *connection, uint64_t from_now_ns);
/* Its deadline is over. */
void connection_expire(struct connection *connection);

/* ---- from_guest.c: packets of the guest ---- */

void vsock_receive(struct vsock *vsock, const struct virtio_vsock_hdr *header,
                   const struct virtqueue_chain *chain);
/* Writes what is buffered for the host. 0, or a negative errno: the host does not take it. */
int connection_flush(struct connection *connection);
/* After a flush or a SHUTDOWN: passes an end of the guest's data on, ends what has ended. May free
 * the connection. */
void connection_advance(struct connection *connection);

/* ---- to_guest.c: packets for the guest ---- */

/* Puts what waits into the receive queue, as far as there are buffers. */
void vsock_fill(struct vsock *vsock);
/* Remembers a reset in answer to `header`. */
void vsock_reset_packet(struct vsock *vsock, const struct virtio_vsock_hdr *header);
void vsock_reset_ports(struct vsock *vsock, uint32_t host_port, uint32_t guest_port);

/* ---- muxer.c: all connections, their ports, clients and deadlines ---- */

struct connection *vsock_find(const struct vsock *vsock, uint32_t host_port, uint32_t guest_port);
void vsock_index(struct vsock *vsock, struct connection *connection);
uint32_t vsock_new_host_port(struct vsock *vsock, uint32_t guest_port);
void vsock_drop_all(struct vsock *vsock);
/* Whether there may be one more connection: they are limited, and leave descriptors for the API and
 * for snapshots. */
bool vsock_has_place(const struct vsock *vsock);
/* Accepts or not, as it should now. */
void vsock_update_accepting(struct vsock *vsock);
void vsock_arm_timer(struct vsock *vsock, uint64_t deadline);
void vsock_listener_ready(struct loop_source *source, uint32_t events);
void vsock_timer_ready(struct loop_source *source, uint32_t events);

/* ---- greeting.c: the first line of a host client ---- */

void connection_greet(struct connection *connection);
/* Reads "CONNECT <port>" (without the newline): 0 or -EPROTO. */
int vsock_parse_connect(const char *line, uint32_t *port);

/* ---- event.c: the transport-reset event ---- */

/* Connections were lost: the guest is to be told. */
void vsock_event_begin(struct vsock *vsock);
/* Goes on with it as far as the guest allows. */
void vsock_event_advance(struct vsock *vsock);

#endif
