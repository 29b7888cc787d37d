/* SPDX-License-Identifier: Apache-2.0 */
#include "guest_driver.h"

/* clang-format off */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>
/* clang-format on */
#include <errno.h>
#include <fcntl.h>
#include <linux/virtio_config.h>
#include <linux/virtio_ids.h>
#include <linux/virtio_ring.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/file.h"
#include "base/log.h"
#include "base/loop.h"
#include "base/unix_socket.h"

#define PATIENCE_MS 30000 /* only so that a lost interrupt fails the test instead of hanging it */
#define QUEUE_AREA  0x100000ull

enum { RX = 0, TX = 1, EVENT = 2 };

/* ---- memory of a queue ---- */

#define DRIVER_OFFSET 0x1000u
#define DEVICE_OFFSET 0x2000u

static void *at(struct guest *guest, uint64_t gpa, uint64_t length)
{
    void *pointer = guest_pointer(&guest->memory, gpa, length);
    assert_non_null(pointer);
    return pointer;
}

static struct vring_desc *descriptor(struct guest *guest, unsigned queue, uint16_t index)
{
    return at(guest, guest->queues[queue].base + index * sizeof(struct vring_desc),
              sizeof(struct vring_desc));
}

static uint16_t *driver_field(struct guest *guest, unsigned queue, uint64_t offset)
{
    return at(guest, guest->queues[queue].base + DRIVER_OFFSET + offset, 2);
}

static void *device_field(struct guest *guest, unsigned queue, uint64_t offset, size_t size)
{
    return at(guest, guest->queues[queue].base + DEVICE_OFFSET + offset, size);
}

static uint16_t used_index(struct guest *guest, unsigned queue)
{
    const uint16_t *index = device_field(guest, queue, 2, 2);
    return __atomic_load_n(index, __ATOMIC_ACQUIRE);
}

/* ---- registers ---- */

uint32_t guest_register(struct guest *guest, uint64_t offset)
{
    uint32_t value = 0;
    struct bus_device *bus = virtio_mmio_bus_device(guest->transport);
    pthread_mutex_lock(&guest->lock);
    bus->read(bus, offset, (uint8_t *)&value, sizeof(value));
    pthread_mutex_unlock(&guest->lock);
    return value;
}

void guest_set_register(struct guest *guest, uint64_t offset, uint32_t value)
{
    struct bus_device *bus = virtio_mmio_bus_device(guest->transport);
    pthread_mutex_lock(&guest->lock);
    bus->write(bus, offset, (const uint8_t *)&value, sizeof(value));
    pthread_mutex_unlock(&guest->lock);
}

static void init_queue(struct guest *guest, unsigned queue)
{
    uint64_t base = QUEUE_AREA * (queue + 1);
    guest->queues[queue] = (struct guest_queue){.base = base, .buffers = base + 0x10000};
    memset(at(guest, base, 0x4000), 0, 0x4000);
    guest_set_register(guest, VIRTIO_MMIO_QUEUE_SEL, queue);
    guest_set_register(guest, VIRTIO_MMIO_QUEUE_NUM, GUEST_QUEUE);
    guest_set_register(guest, VIRTIO_MMIO_QUEUE_DESC_LOW, (uint32_t)base);
    guest_set_register(guest, VIRTIO_MMIO_QUEUE_AVAIL_LOW, (uint32_t)base + DRIVER_OFFSET);
    guest_set_register(guest, VIRTIO_MMIO_QUEUE_USED_LOW, (uint32_t)base + DEVICE_OFFSET);
    guest_set_register(guest, VIRTIO_MMIO_QUEUE_READY, 1);
}

void guest_init_registers(struct guest *guest)
{
    assert_int_equal(guest_register(guest, VIRTIO_MMIO_DEVICE_ID), VIRTIO_ID_VSOCK);
    guest_set_register(guest, VIRTIO_MMIO_STATUS, 0);
    guest_set_register(guest, VIRTIO_MMIO_STATUS, 1);
    guest_set_register(guest, VIRTIO_MMIO_STATUS, 3);
    guest_set_register(guest, VIRTIO_MMIO_DRIVER_FEATURES_SEL, 1);
    guest_set_register(guest, VIRTIO_MMIO_DRIVER_FEATURES, 1u << (VIRTIO_F_VERSION_1 - 32));
    guest_set_register(guest, VIRTIO_MMIO_DRIVER_FEATURES_SEL, 0);
    guest_set_register(guest, VIRTIO_MMIO_DRIVER_FEATURES,
                       guest->event_index ? 1u << VIRTIO_RING_F_EVENT_IDX : 0);
    guest_set_register(guest, VIRTIO_MMIO_STATUS, 11);
    assert_int_equal(guest_register(guest, VIRTIO_MMIO_STATUS), 11);
    for (unsigned queue = 0; queue < 3; queue++)
        init_queue(guest, queue);
    guest_set_register(guest, VIRTIO_MMIO_STATUS, 15);
    assert_int_equal(guest_register(guest, VIRTIO_MMIO_STATUS), 15);
    guest->withheld = 0;
}

/* ---- rings ---- */

static void notify(struct guest *guest, unsigned queue, uint16_t before)
{
    uint16_t now = guest->queues[queue].next_avail;
    bool wanted = false;
    __atomic_thread_fence(__ATOMIC_SEQ_CST);
    if (guest->event_index) {
        const uint16_t *event = device_field(guest, queue, 4 + 8 * GUEST_QUEUE, 2);
        wanted = vring_need_event(__atomic_load_n(event, __ATOMIC_RELAXED), now, before);
    } else {
        const uint16_t *flags = device_field(guest, queue, 0, 2);
        wanted = !(__atomic_load_n(flags, __ATOMIC_RELAXED) & VRING_USED_F_NO_NOTIFY);
    }
    if (wanted)
        assert_int_equal(eventfd_write(virtio_mmio_notify_fd(guest->transport, queue), 1), 0);
}

static void make_available(struct guest *guest, unsigned queue, uint16_t head)
{
    struct guest_queue *q = &guest->queues[queue];
    *driver_field(guest, queue, 4 + 2 * (uint64_t)(q->next_avail % GUEST_QUEUE)) = head;
    q->next_avail++;
    __atomic_store_n(driver_field(guest, queue, 2), q->next_avail, __ATOMIC_RELEASE);
}

/* Waits until the device has used a buffer of the queue, asleep until the interrupt. */
static void wait_used(struct guest *guest, unsigned queue)
{
    struct guest_queue *q = &guest->queues[queue];
    struct pollfd poller = {.fd = virtio_mmio_irq_fd(guest->transport), .events = POLLIN};
    eventfd_t count = 0;
    for (;;) {
        /* Ask for an interrupt after the next one, then look once more (2.7.10). */
        __atomic_store_n(driver_field(guest, queue, 4 + 2 * GUEST_QUEUE), q->last_used,
                         __ATOMIC_RELAXED);
        __atomic_thread_fence(__ATOMIC_SEQ_CST);
        if (used_index(guest, queue) != q->last_used)
            return;
        if (poll(&poller, 1, PATIENCE_MS) != 1)
            fail_msg("no interrupt for queue %u", queue);
        assert_int_equal(eventfd_read(poller.fd, &count), 0);
        guest_set_register(guest, VIRTIO_MMIO_INTERRUPT_ACK,
                           guest_register(guest, VIRTIO_MMIO_INTERRUPT_STATUS));
    }
}

static struct vring_used_elem take_used(struct guest *guest, unsigned queue)
{
    struct guest_queue *q = &guest->queues[queue];
    const struct vring_used_elem *element = device_field(
        guest, queue, 4 + 8 * (uint64_t)(q->last_used % GUEST_QUEUE), sizeof(*element));
    q->last_used++;
    return *element;
}

#define RX_STRIDE 0x2000u /* distance of receive buffers */

void guest_fill_rx(struct guest *guest, unsigned buffers, uint32_t bytes)
{
    uint16_t before = guest->queues[RX].next_avail;
    for (unsigned i = 0; i < buffers; i++) {
        *descriptor(guest, RX, (uint16_t)i) =
            (struct vring_desc){.addr = guest->queues[RX].buffers + (uint64_t)i * RX_STRIDE,
                                .len = bytes,
                                .flags = VRING_DESC_F_WRITE};
        make_available(guest, RX, (uint16_t)i);
    }
    notify(guest, RX, before);
}

void guest_fill_events(struct guest *guest, unsigned buffers)
{
    uint16_t before = guest->queues[EVENT].next_avail;
    for (unsigned i = 0; i < buffers; i++) {
        *descriptor(guest, EVENT, (uint16_t)i) =
            (struct vring_desc){.addr = guest->queues[EVENT].buffers + i * 16ull,
                                .len = 4,
                                .flags = VRING_DESC_F_WRITE};
        make_available(guest, EVENT, (uint16_t)i);
    }
    notify(guest, EVENT, before);
}

/* ---- life ---- */

static void *serve(void *argument)
{
    loop_run(((struct guest *)argument)->outer);
    return NULL;
}

void guest_device_create(struct guest *guest)
{
    struct error err = {0};
    const struct vsock_config config = {
        .present = true, .guest_cid = GUEST_CID, .uds_path = guest->uds_path};
    pthread_mutex_lock(&guest->lock);
    guest->device = virtio_vsock_create(&config, &guest->memory, guest->loop, &err);
    if (!guest->device)
        fail_msg("%s", err.message);
    guest->transport = virtio_mmio_create(guest->device, 3, &err);
    pthread_mutex_unlock(&guest->lock);
    assert_non_null(guest->transport);
}

void guest_device_destroy(struct guest *guest)
{
    pthread_mutex_lock(&guest->lock);
    virtio_mmio_destroy(guest->transport);
    pthread_mutex_unlock(&guest->lock);
    guest->transport = NULL;
    assert_int_equal(access(guest->uds_path, F_OK), -1);
}

struct guest *guest_create(bool event_index)
{
    struct error err = {0};
    struct guest *guest = calloc(1, sizeof(*guest));
    assert_non_null(guest);
    log_configure("test", LOG_LEVEL_ERROR, STDERR_FILENO);
    guest->event_index = event_index;
    pthread_mutex_init(&guest->lock, NULL);
    strcpy(guest->directory, "/tmp/tine-vsock-XXXXXX");
    assert_non_null(mkdtemp(guest->directory));
    snprintf(guest->uds_path, sizeof(guest->uds_path), "%s/v.sock", guest->directory);
    assert_int_equal(guest_memory_create(&guest->memory, 16u << 20, &err), 0);
    guest->outer = loop_create(&err);
    guest->loop = loop_create(&err);
    loop_set_lock(guest->loop, &guest->lock);
    assert_int_equal(loop_attach(guest->outer, guest->loop, &err), 0);
    guest_device_create(guest);
    assert_int_equal(pthread_create(&guest->thread, NULL, serve, guest), 0);
    return guest;
}

void guest_destroy(struct guest *guest)
{
    struct error err = {0};
    loop_stop(guest->outer, 0);
    pthread_join(guest->thread, NULL);
    guest_device_destroy(guest);
    loop_detach(guest->outer, guest->loop);
    loop_destroy(guest->loop);
    loop_destroy(guest->outer);
    guest_memory_release(&guest->memory);
    assert_int_equal(tree_remove(AT_FDCWD, guest->directory, &err), 0);
    pthread_mutex_destroy(&guest->lock);
    free(guest);
}

static int setup(void **state, bool event_index)
{
    struct guest *guest = guest_create(event_index);
    guest_init_registers(guest);
    guest_fill_rx(guest, GUEST_QUEUE, sizeof(struct virtio_vsock_hdr) + GUEST_DATA);
    guest_fill_events(guest, 8);
    *state = guest;
    return 0;
}

int guest_setup(void **state)
{
    return setup(state, true);
}

int guest_setup_plain(void **state)
{
    return setup(state, false);
}

int guest_teardown(void **state)
{
    guest_destroy(*state);
    return 0;
}

/* ---- packets ---- */

struct virtio_vsock_hdr guest_header(uint16_t op, uint32_t port, uint32_t host)
{
    return (struct virtio_vsock_hdr){.op = op, .src_port = port, .dst_port = host};
}

static void send_descriptors(struct guest *guest, const size_t *lengths, unsigned count)
{
    uint16_t before = guest->queues[TX].next_avail;
    uint64_t address = guest->queues[TX].buffers;
    for (unsigned i = 0; i < count; i++) {
        bool last = i + 1 == count;
        *descriptor(guest, TX, (uint16_t)i) =
            (struct vring_desc){.addr = address,
                                .len = (uint32_t)lengths[i],
                                .flags = last ? 0 : VRING_DESC_F_NEXT,
                                .next = last ? 0 : (uint16_t)(i + 1)};
        address += lengths[i];
    }
    make_available(guest, TX, 0);
    notify(guest, TX, before);
    wait_used(guest, TX);
    take_used(guest, TX);
}

void guest_send(struct guest *guest, const struct virtio_vsock_hdr *header, const void *data,
                size_t length)
{
    struct virtio_vsock_hdr full = *header;
    full.src_cid = full.src_cid ? full.src_cid : GUEST_CID;
    full.dst_cid = full.dst_cid ? full.dst_cid : 2;
    full.type = full.type ? full.type : VIRTIO_VSOCK_TYPE_STREAM;
    full.len = full.len ? full.len : (uint32_t)length;
    full.buf_alloc = full.buf_alloc ? full.buf_alloc : 1u << 18;
    uint8_t *place = at(guest, guest->queues[TX].buffers, sizeof(full) + length);
    memcpy(place, &full, sizeof(full));
    if (length > 0)
        memcpy(place + sizeof(full), data, length);
    /* In up to three pieces that do not respect the end of the header. */
    const size_t pieces[] = {20, sizeof(full) - 20 + length / 2, length - length / 2};
    send_descriptors(guest, pieces, pieces[2] > 0 ? 3 : 2);
}

void guest_send_raw(struct guest *guest, const void *bytes, size_t length)
{
    memcpy(at(guest, guest->queues[TX].buffers, length), bytes, length);
    send_descriptors(guest, &length, 1);
}

bool guest_has_packet(struct guest *guest)
{
    return used_index(guest, RX) != guest->queues[RX].last_used;
}

void guest_receive(struct guest *guest, struct packet *packet)
{
    wait_used(guest, RX);
    struct vring_used_elem used = take_used(guest, RX);
    const struct vring_desc *buffer = descriptor(guest, RX, (uint16_t)used.id);
    assert_true(used.len >= sizeof(packet->header) && used.len <= buffer->len);
    const uint8_t *bytes = at(guest, buffer->addr, used.len);
    memcpy(&packet->header, bytes, sizeof(packet->header));
    assert_int_equal(packet->header.len, used.len - sizeof(packet->header));
    memcpy(packet->data, bytes + sizeof(packet->header), packet->header.len);
    assert_int_equal(packet->header.dst_cid, GUEST_CID);
    if (guest->withhold_rx) {
        guest->withheld++;
        return;
    }
    uint16_t before = guest->queues[RX].next_avail;
    make_available(guest, RX, (uint16_t)used.id);
    notify(guest, RX, before);
}

void guest_refill(struct guest *guest)
{
    /* Which buffer a head names does not matter: all are alike and the withheld ones were used. */
    uint16_t before = guest->queues[RX].next_avail;
    for (; guest->withheld > 0; guest->withheld--)
        make_available(guest, RX, (uint16_t)(guest->queues[RX].next_avail % GUEST_QUEUE));
    guest->withhold_rx = false;
    notify(guest, RX, before);
}

void guest_expect(struct guest *guest, uint16_t op, struct packet *packet)
{
    static struct packet own;
    if (!packet)
        packet = &own;
    do {
        guest_receive(guest, packet);
    } while (packet->header.op != op && (packet->header.op == VIRTIO_VSOCK_OP_CREDIT_UPDATE ||
                                         packet->header.op == VIRTIO_VSOCK_OP_CREDIT_REQUEST));
    if (packet->header.op != op)
        fail_msg("packet op %u, expected %u", packet->header.op, op);
}

/* A packet to a port that nobody has is answered by a reset, behind all that was there before. */
void guest_barrier(struct guest *guest)
{
    struct packet packet;
    const struct virtio_vsock_hdr header = guest_header(VIRTIO_VSOCK_OP_RW, 1, 1);
    guest_send(guest, &header, NULL, 0);
    guest_expect(guest, VIRTIO_VSOCK_OP_RST, &packet);
    assert_int_equal(packet.header.src_port, 1);
}

bool guest_event(struct guest *guest, uint32_t *id)
{
    if (used_index(guest, EVENT) == guest->queues[EVENT].last_used)
        return false;
    struct vring_used_elem used = take_used(guest, EVENT);
    assert_int_equal(used.len, 4);
    memcpy(id, at(guest, descriptor(guest, EVENT, (uint16_t)used.id)->addr, 4), 4);
    return true;
}

void guest_event_done(struct guest *guest)
{
    uint16_t before = guest->queues[EVENT].next_avail;
    make_available(guest, EVENT, before % 8);
    notify(guest, EVENT, before);
}

/* ---- the host ---- */

static int patient(int fd)
{
    const struct timeval patience = {.tv_sec = PATIENCE_MS / 1000};
    assert_true(fd >= 0);
    assert_int_equal(setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof(patience)), 0);
    return fd;
}

int host_connect(const struct guest *guest)
{
    struct error err = {0};
    return patient(unix_connect(guest->uds_path, 0, &err));
}

int host_listen(const struct guest *guest, uint32_t port)
{
    struct error err = {0};
    char path[128];
    snprintf(path, sizeof(path), "%s_%u", guest->uds_path, port);
    return patient(unix_listen(path, 0, &err));
}

void host_write(int fd, const void *data, size_t length)
{
    while (length > 0) {
        ssize_t n = send(fd, data, length, MSG_NOSIGNAL);
        assert_true(n > 0);
        data = (const char *)data + n;
        length -= (size_t)n;
    }
}

void host_read(int fd, void *data, size_t length)
{
    struct error err = {0};
    if (file_read_exact(fd, data, length, "stream", &err) < 0)
        fail_msg("%s", err.message);
}

void host_read_line(int fd, char *line, size_t size)
{
    size_t used = 0;
    do {
        assert_true(used + 1 < size);
        host_read(fd, line + used, 1);
    } while (line[used++] != '\n');
    line[used] = '\0';
}

bool host_at_end(int fd)
{
    char byte = 0;
    return recv(fd, &byte, 1, 0) == 0;
}

int stream_from_host(struct guest *guest, uint32_t port, uint32_t buf_alloc, uint32_t *host_port)
{
    struct packet packet;
    char line[64], expected[64];
    int fd = host_connect(guest);
    int n = snprintf(line, sizeof(line), "CONNECT %u\n", port);
    host_write(fd, line, (size_t)n);
    guest_expect(guest, VIRTIO_VSOCK_OP_REQUEST, &packet);
    assert_int_equal(packet.header.dst_port, port);
    assert_int_equal(packet.header.src_cid, 2);
    assert_int_equal(packet.header.type, VIRTIO_VSOCK_TYPE_STREAM);
    assert_true(packet.header.src_port >= 1u << 30);
    assert_int_equal(packet.header.buf_alloc, 65536);
    struct virtio_vsock_hdr answer =
        guest_header(VIRTIO_VSOCK_OP_RESPONSE, port, packet.header.src_port);
    answer.buf_alloc = buf_alloc;
    guest_send(guest, &answer, NULL, 0);
    host_read_line(fd, line, sizeof(line));
    snprintf(expected, sizeof(expected), "OK %u\n", packet.header.src_port);
    assert_string_equal(line, expected);
    *host_port = packet.header.src_port;
    return fd;
}
