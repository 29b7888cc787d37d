/* SPDX-License-Identifier: Apache-2.0 */
/* The guest's side: a small virtio-vsock driver over guest memory and the MMIO registers, while the
 * device runs on an event loop in its own thread. Interrupts and notification suppression are
 * honoured, so a device that forgets one of them makes a test time out. */
#ifndef TINE_TESTS_GUEST_DRIVER_H
#define TINE_TESTS_GUEST_DRIVER_H

#include <linux/virtio_vsock.h>
#include <pthread.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "vmm/devices/virtio.h"

#define GUEST_CID   7u
#define GUEST_QUEUE 16u   /* entries of each queue */
#define GUEST_DATA  4096u /* bytes of data in a receive buffer */

struct guest_queue {
    uint64_t base; /* guest-physical: descriptors, available ring, used ring, buffers behind */
    uint64_t buffers;
    uint16_t next_avail, last_used;
};

struct guest {
    char directory[64];
    char uds_path[96];
    struct loop *outer, *loop;
    pthread_mutex_t lock;
    pthread_t thread;
    struct guest_memory memory;
    struct virtio_device *device;
    struct virtio_mmio *transport;
    struct guest_queue queues[3];
    bool event_index;
    bool withhold_rx; /* used receive buffers are not given back until guest_refill() */
    unsigned withheld;
};

struct packet {
    struct virtio_vsock_hdr header;
    uint8_t data[GUEST_DATA];
};

/* cmocka setup and teardown; *state is the guest, its driver up with EVENT_IDX. */
int guest_setup(void **state);
int guest_setup_plain(void **state); /* without EVENT_IDX */
int guest_teardown(void **state);

/* The steps of the setup, for tests that go another way. */
struct guest *guest_create(bool event_index);
void guest_device_create(struct guest *guest);
void guest_device_destroy(struct guest *guest);
void guest_init_registers(struct guest *guest);
void guest_fill_rx(struct guest *guest, unsigned buffers, uint32_t bytes);
void guest_fill_events(struct guest *guest, unsigned buffers);
void guest_destroy(struct guest *guest);

uint32_t guest_register(struct guest *guest, uint64_t offset);
void guest_set_register(struct guest *guest, uint64_t offset, uint32_t value);

/* Sends a packet and waits until the device has used it. The header is completed: CIDs and type if
 * they are 0, and buf_alloc if it is 0. */
void guest_send(struct guest *guest, const struct virtio_vsock_hdr *header, const void *data,
                size_t length);
/* Sends the bytes as they are, in one descriptor. */
void guest_send_raw(struct guest *guest, const void *bytes, size_t length);
/* Waits for the next packet. */
void guest_receive(struct guest *guest, struct packet *packet);
/* Waits for a packet of this operation and these ports (0: any); others of kind CREDIT_UPDATE and
 * CREDIT_REQUEST are skipped, anything else fails the test. */
void guest_expect(struct guest *guest, uint16_t op, struct packet *packet);
/* True if a packet is there already. Only meaningful after something that orders it. */
bool guest_has_packet(struct guest *guest);
/* Waits until the device has dealt with all it was told so far. */
void guest_barrier(struct guest *guest);
/* Gives back what was withheld. */
void guest_refill(struct guest *guest);

/* The event queue: true if an event has been used; reads it. */
bool guest_event(struct guest *guest, uint32_t *id);
/* Puts its buffer back. */
void guest_event_done(struct guest *guest);

/* A packet of the stream between host port `host` and guest port `port`. */
struct virtio_vsock_hdr guest_header(uint16_t op, uint32_t port, uint32_t host);

/* The host's side. */
int host_connect(const struct guest *guest);
void host_write(int fd, const void *data, size_t length);
void host_read(int fd, void *data, size_t length);
/* Reads up to the newline. */
void host_read_line(int fd, char *line, size_t size);
bool host_at_end(int fd);
int host_listen(const struct guest *guest, uint32_t port);

/* A host client connected to guest port `port`: both sides of the handshake. */
int stream_from_host(struct guest *guest, uint32_t port, uint32_t buf_alloc, uint32_t *host_port);

#endif
