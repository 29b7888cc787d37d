/* SPDX-License-Identifier: Apache-2.0 */
/* The socket device under a hostile guest and host: the input is a list of steps. The guest sends
 * packets built from it, gives receive buffers of any size, saves, resets; host clients connect,
 * write, half-close and close. Everything runs in one thread over the real transport. */
#include <fcntl.h>
#include <linux/virtio_config.h>
#include <linux/virtio_ring.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/log.h"
#include "base/unix_socket.h"
#include "vmm/devices/vsock/vsock.h"

#define MEMORY_BYTES (2u << 20)
#define QUEUE_SIZE   16u
#define STEPS_MAX    64u
#define CLIENTS      4u
#define AREA(queue)  (0x10000ull * ((queue) + 1))
#define BUFFERS      0x100000ull

enum { DRIVER = 0x1000, DEVICE = 0x2000 };

int LLVMFuzzerInitialize(int *argc, char ***argv);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

struct fuzz {
    char uds_path[96];
    int listener; /* the host's, behind guest port 5 */
    struct guest_memory memory;
    struct loop *loop;
    struct virtio_device *device;
    struct virtio_mmio *transport;
    uint16_t available[VSOCK_QUEUES];
    int clients[CLIENTS];
    const uint8_t *data;
    size_t size;
};

static struct fuzz fuzz;

static void require(int condition)
{
    if (!condition)
        abort();
}

static char directory[] = "/tmp/tine-fuzz-vsock-XXXXXX";
static char listener_path[128];

static void clean_up(void)
{
    unlink(listener_path);
    unlink(fuzz.uds_path);
    rmdir(directory);
}

int LLVMFuzzerInitialize(int *argc, char ***argv)
{
    int null = open("/dev/null", O_WRONLY | O_CLOEXEC);
    require(null >= 0 && mkdtemp(directory) != NULL);
    log_configure("fuzz", LOG_LEVEL_ERROR, null);
    snprintf(fuzz.uds_path, sizeof(fuzz.uds_path), "%s/v.sock", directory);
    snprintf(listener_path, sizeof(listener_path), "%s_5", fuzz.uds_path);
    fuzz.listener = unix_listen(listener_path, SOCK_NONBLOCK, NULL);
    atexit(clean_up);
    require(fuzz.listener >= 0);
    require(guest_memory_create(&fuzz.memory, MEMORY_BYTES, NULL) == 0);
    return 0;
}

static uint8_t byte(void)
{
    if (fuzz.size == 0)
        return 0;
    fuzz.size--;
    return *fuzz.data++;
}

static void set_register(uint64_t offset, uint32_t value)
{
    struct bus_device *bus = virtio_mmio_bus_device(fuzz.transport);
    bus->write(bus, offset, (const uint8_t *)&value, sizeof(value));
}

static void start_driver(bool event_index)
{
    static const uint32_t steps[] = {0, 1, 3};
    memset(guest_pointer(&fuzz.memory, 0, BUFFERS), 0, BUFFERS);
    memset(fuzz.available, 0, sizeof(fuzz.available));
    for (unsigned i = 0; i < ARRAY_SIZE(steps); i++)
        set_register(VIRTIO_MMIO_STATUS, steps[i]);
    set_register(VIRTIO_MMIO_DRIVER_FEATURES_SEL, 1);
    set_register(VIRTIO_MMIO_DRIVER_FEATURES, 1);
    set_register(VIRTIO_MMIO_DRIVER_FEATURES_SEL, 0);
    set_register(VIRTIO_MMIO_DRIVER_FEATURES, event_index ? 1u << VIRTIO_RING_F_EVENT_IDX : 0);
    set_register(VIRTIO_MMIO_STATUS, 11);
    for (unsigned queue = 0; queue < VSOCK_QUEUES; queue++) {
        set_register(VIRTIO_MMIO_QUEUE_SEL, queue);
        set_register(VIRTIO_MMIO_QUEUE_NUM, QUEUE_SIZE);
        set_register(VIRTIO_MMIO_QUEUE_DESC_LOW, (uint32_t)AREA(queue));
        set_register(VIRTIO_MMIO_QUEUE_AVAIL_LOW, (uint32_t)AREA(queue) + DRIVER);
        set_register(VIRTIO_MMIO_QUEUE_USED_LOW, (uint32_t)AREA(queue) + DEVICE);
        set_register(VIRTIO_MMIO_QUEUE_READY, 1);
    }
    set_register(VIRTIO_MMIO_STATUS, 15);
    require(virtio_device_active(fuzz.device));
}

static void make_available(unsigned queue, uint64_t address, uint32_t length, uint16_t flags)
{
    uint16_t index = fuzz.available[queue] % QUEUE_SIZE;
    const struct vring_desc descriptor = {.addr = address, .len = length, .flags = flags};
    guest_write(&fuzz.memory, AREA(queue) + index * sizeof(descriptor), &descriptor,
                sizeof(descriptor));
    guest_write(&fuzz.memory, AREA(queue) + DRIVER + 4 + 2ull * index, &index, sizeof(index));
    fuzz.available[queue]++;
    guest_write(&fuzz.memory, AREA(queue) + DRIVER + 2, &fuzz.available[queue], 2);
}

static void notify(unsigned index)
{
    if (virtio_device_active(fuzz.device))
        fuzz.device->ops->notify(fuzz.device, index);
    virtio_signal_queue(fuzz.device, index);
}

/* ---- steps ---- */

static uint32_t some_host_port(void)
{
    /* 5: the listener; the others: clients, whose ports count up from the first. */
    uint8_t choice = byte();
    return choice % 4 == 0 ? 5 : VSOCK_FIRST_HOST_PORT + choice % 6;
}

static void guest_packet(void)
{
    struct virtio_vsock_hdr header = {.src_cid = 3,
                                      .dst_cid = VSOCK_HOST_CID,
                                      .src_port = 52u + byte() % 2,
                                      .dst_port = some_host_port(),
                                      .type = VIRTIO_VSOCK_TYPE_STREAM,
                                      .op = byte() % 9};
    uint8_t odd = byte();
    header.flags = odd & 3;
    header.fwd_cnt = (uint32_t)byte() << 6;
    header.buf_alloc = (uint32_t)byte() << 10;
    uint32_t length = header.op == VIRTIO_VSOCK_OP_RW ? (uint32_t)byte() * 300 : 0;
    header.len = length;
    if (odd & 4)
        header.src_cid = byte();
    if (odd & 8)
        header.dst_cid = byte();
    if (odd & 16)
        header.type = byte();
    if (odd & 32)
        header.len = (uint32_t)byte() << (byte() % 25);
    guest_write(&fuzz.memory, BUFFERS, &header, sizeof(header));
    make_available(VSOCK_TX, BUFFERS, (uint32_t)sizeof(header) + length, 0);
    notify(VSOCK_TX);
}

static void guest_raw_packet(void)
{
    uint8_t bytes[64];
    uint32_t length = 1u + byte() % (uint32_t)sizeof(bytes);
    for (uint32_t i = 0; i < length; i++)
        bytes[i] = byte();
    guest_write(&fuzz.memory, BUFFERS, bytes, length);
    make_available(VSOCK_TX, BUFFERS, length, 0);
    notify(VSOCK_TX);
}

static void guest_rx_buffers(void)
{
    uint8_t count = byte() % QUEUE_SIZE;
    uint32_t length = 1u + (uint32_t)byte() * 20;
    for (unsigned i = 0; i < count; i++)
        make_available(VSOCK_RX, BUFFERS + 0x80000, length, VRING_DESC_F_WRITE);
    notify(VSOCK_RX);
}

static void guest_event_buffer(void)
{
    make_available(VSOCK_EVENT, BUFFERS + 0x90000, 1u + byte() % 8, VRING_DESC_F_WRITE);
    notify(VSOCK_EVENT);
}

static void client_opens(void)
{
    int *client = &fuzz.clients[byte() % CLIENTS];
    char line[32];
    if (*client >= 0)
        close(*client);
    *client = unix_connect(fuzz.uds_path, SOCK_NONBLOCK, NULL);
    int n = snprintf(line, sizeof(line), "CONNECT %u\n", 52u + byte() % 2);
    if (*client >= 0 && send(*client, line, (size_t)n, MSG_NOSIGNAL) != n)
        abort();
}

static void client_writes(void)
{
    static const uint8_t data[20000];
    int client = fuzz.clients[byte() % CLIENTS];
    size_t length = (size_t)byte() * 70;
    if (client >= 0)
        (void)!send(client, data, length, MSG_NOSIGNAL | MSG_DONTWAIT);
}

static void client_line(void)
{
    int *client = &fuzz.clients[byte() % CLIENTS];
    uint8_t line[40];
    size_t length = byte() % sizeof(line);
    for (size_t i = 0; i < length; i++)
        line[i] = byte();
    if (*client >= 0)
        close(*client);
    *client = unix_connect(fuzz.uds_path, SOCK_NONBLOCK, NULL);
    if (*client >= 0)
        (void)!send(*client, line, length, MSG_NOSIGNAL | MSG_DONTWAIT);
}

static void client_reads(void)
{
    static uint8_t data[30000];
    int client = fuzz.clients[byte() % CLIENTS];
    if (client >= 0)
        (void)!recv(client, data, sizeof(data), MSG_DONTWAIT);
}

static void client_shuts_down(void)
{
    uint8_t choice = byte();
    int client = fuzz.clients[choice % CLIENTS];
    if (client >= 0)
        (void)shutdown(client, choice & 16 ? SHUT_WR : SHUT_RD);
}

static void client_closes(void)
{
    int *client = &fuzz.clients[byte() % CLIENTS];
    if (*client >= 0)
        close(*client);
    *client = -1;
}

static void host_accepts(void)
{
    int *client = &fuzz.clients[byte() % CLIENTS];
    int fd = accept4(fuzz.listener, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
    if (fd < 0)
        return;
    if (*client >= 0)
        close(*client);
    *client = fd;
}

static void save(void)
{
    struct state_writer writer;
    state_writer_init(&writer);
    require(virtio_mmio_save(fuzz.transport, &writer, NULL) == 0);
    state_writer_free(&writer);
    if (byte() & 1)
        virtio_mmio_kick(fuzz.transport);
}

static void expire(void)
{
    struct vsock *vsock = CONTAINER_OF(fuzz.device, struct vsock, device);
    struct connection *connection = LIST_FIRST(&vsock->connections);
    if (connection && connection->deadline != 0)
        connection_expire(connection);
}

static void restart(void)
{
    start_driver(byte() & 1);
}

static void (*const steps[])(void) = {
    guest_packet,
    guest_packet,
    guest_raw_packet,
    guest_rx_buffers,
    guest_event_buffer,
    client_opens,
    client_writes,
    client_line,
    client_reads,
    client_shuts_down,
    client_closes,
    host_accepts,
    save,
    expire,
    restart,
    guest_packet,
};

/* What must hold between any two steps. */
static void check(void)
{
    const struct vsock *vsock = CONTAINER_OF(fuzz.device, struct vsock, device);
    const struct connection *connection = NULL;
    unsigned count = 0;
    LIST_FOREACH(connection, &vsock->connections, all)
    {
        count++;
        require(connection->received - connection->forwarded == connection->to_host.used);
        require(connection->waiting || connection->pending == 0);
        require(connection->state == CONNECTION_GREETING ||
                vsock_find(vsock, connection->host_port, connection->guest_port) == connection);
    }
    require(count == vsock->connection_count && vsock->reset_count <= VSOCK_MAX_RESETS);
}

struct stopper {
    struct loop_source source;
    struct loop *outer;
    unsigned turns;
};

static void count_turns(struct loop_source *source, uint32_t events)
{
    struct stopper *stopper = CONTAINER_OF(source, struct stopper, source);
    if (stopper->turns-- == 0)
        loop_stop(stopper->outer, 0);
}

/* Lets the device's loop run a few rounds, by a source beside it that is always ready. */
static void pump(void)
{
    struct stopper stopper = {.source = {.fd = eventfd(1, EFD_CLOEXEC), .ready = count_turns},
                              .outer = loop_create(NULL),
                              .turns = 4};
    require(stopper.outer && stopper.source.fd >= 0);
    require(loop_attach(stopper.outer, fuzz.loop, NULL) == 0);
    require(loop_add(stopper.outer, &stopper.source, EPOLLIN, NULL) == 0);
    loop_run(stopper.outer);
    loop_detach(stopper.outer, fuzz.loop);
    loop_destroy(stopper.outer);
    close(stopper.source.fd);
}

static void set_up(void)
{
    const struct vsock_config config = {.present = true, .guest_cid = 3, .uds_path = fuzz.uds_path};
    fuzz.loop = loop_create(NULL);
    fuzz.device = virtio_vsock_create(&config, &fuzz.memory, fuzz.loop, NULL);
    require(fuzz.device != NULL);
    fuzz.transport = virtio_mmio_create(fuzz.device, 0, NULL);
    require(fuzz.transport != NULL);
    for (unsigned i = 0; i < CLIENTS; i++)
        fuzz.clients[i] = -1;
    start_driver(byte() & 1);
}

static void tear_down(void)
{
    int fd = -1;
    virtio_mmio_destroy(fuzz.transport);
    loop_destroy(fuzz.loop);
    unlink(fuzz.uds_path);
    for (unsigned i = 0; i < CLIENTS; i++) {
        if (fuzz.clients[i] >= 0)
            close(fuzz.clients[i]);
    }
    while ((fd = accept4(fuzz.listener, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK)) >= 0)
        close(fd);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    fuzz.data = data;
    fuzz.size = size;
    set_up();
    for (unsigned i = 0; i < STEPS_MAX && fuzz.size > 0; i++) {
        uint8_t step = byte();
        steps[step % ARRAY_SIZE(steps)]();
        check();
        if (step & 128) {
            pump();
            check();
        }
    }
    tear_down();
    return 0;
}
