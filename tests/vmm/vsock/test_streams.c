/* SPDX-License-Identifier: Apache-2.0 */
/* Connections in both directions: handshake, data, flow control, the ways to end. */
/* clang-format off */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>
/* clang-format on */
#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/clock.h"
#include "guest_driver.h"

#define PORT        52u
#define ALLOC       65536u
#define STREAM_SIZE (6u << 20)

/* Content that depends on the position, with a period that is no multiple of any buffer size. */
static uint8_t content(size_t position)
{
    return (uint8_t)(position * 7 + position / 251);
}

static void send_op(struct guest *guest, uint16_t op, uint32_t port, uint32_t host, uint32_t flags)
{
    struct virtio_vsock_hdr header = guest_header(op, port, host);
    header.flags = flags;
    guest_send(guest, &header, NULL, 0);
}

static void send_text(struct guest *guest, uint32_t host, const char *text)
{
    const struct virtio_vsock_hdr header = guest_header(VIRTIO_VSOCK_OP_RW, PORT, host);
    guest_send(guest, &header, text, strlen(text));
}

static void expect_text(struct guest *guest, const char *text)
{
    struct packet packet;
    size_t length = 0;
    while (length < strlen(text)) {
        guest_expect(guest, VIRTIO_VSOCK_OP_RW, &packet);
        assert_true(length + packet.header.len <= strlen(text));
        assert_memory_equal(packet.data, text + length, packet.header.len);
        length += packet.header.len;
    }
}

static void read_text(int fd, const char *text)
{
    char buffer[64];
    host_read(fd, buffer, strlen(text));
    assert_memory_equal(buffer, text, strlen(text));
}

static void test_config_space(void **state)
{
    struct guest *guest = *state;
    assert_int_equal(guest_register(guest, VIRTIO_MMIO_CONFIG), GUEST_CID);
    assert_int_equal(guest_register(guest, VIRTIO_MMIO_CONFIG + 4), 0);
    assert_int_equal(guest_register(guest, VIRTIO_MMIO_CONFIG + 8), 0);
}

static void test_host_to_guest(void **state)
{
    struct guest *guest = *state;
    uint32_t first = 0, second = 0;
    int a = stream_from_host(guest, PORT, ALLOC, &first);
    int b = stream_from_host(guest, PORT, ALLOC, &second);
    assert_int_equal(second, first + 1);
    host_write(a, "to guest", 8);
    expect_text(guest, "to guest");
    send_text(guest, first, "for a");
    send_text(guest, second, "for b");
    read_text(b, "for b");
    read_text(a, "for a");
    close(a);
    close(b);
}

/* The line in pieces, in small letters, with data right behind it. */
static void test_connect_line(void **state)
{
    static const char text[] = "connect 52\nfirst words";
    struct guest *guest = *state;
    struct packet packet;
    char line[64];
    int fd = host_connect(guest);
    for (size_t i = 0; i < 10; i++) {
        host_write(fd, text + i, 1);
        guest_barrier(guest);
        int other = host_connect(guest); /* makes the device look around */
        close(other);
    }
    host_write(fd, text + 10, sizeof(text) - 1 - 10);
    guest_expect(guest, VIRTIO_VSOCK_OP_REQUEST, &packet);
    send_op(guest, VIRTIO_VSOCK_OP_RESPONSE, PORT, packet.header.src_port, 0);
    host_read_line(fd, line, sizeof(line));
    expect_text(guest, "first words");
    close(fd);
}

static void test_connect_line_refused(void **state)
{
    static const char *const bad[] = {
        "HELLO 52\n",
        "CONNECT\n",
        "CONNECT \n",
        "CONNECT x\n",
        "CONNECT -1\n",
        "CONNECT 4294967295\n",
        "CONNECT 52 \n",
        "\n",
        "CONNECT 99999999999\n",
        "CONNECT 00000000000000000000000000052\n",
        "no newline in so many bytes that no line can be that long",
    };
    struct guest *guest = *state;
    for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
        int fd = host_connect(guest);
        host_write(fd, bad[i], strlen(bad[i]));
        char byte = 0;
        ssize_t n = recv(fd, &byte, 1, 0);
        assert_true(n == 0 || (n < 0 && errno == ECONNRESET));
        close(fd);
    }
    guest_barrier(guest); /* the guest heard of none of them */
}

static void test_guest_refuses(void **state)
{
    struct guest *guest = *state;
    struct packet packet;
    int fd = host_connect(guest);
    host_write(fd, "CONNECT 52\n", 11);
    guest_expect(guest, VIRTIO_VSOCK_OP_REQUEST, &packet);
    send_op(guest, VIRTIO_VSOCK_OP_RST, PORT, packet.header.src_port, 0);
    assert_true(host_at_end(fd));
    close(fd);
}

static void test_client_gives_up(void **state)
{
    struct guest *guest = *state;
    struct packet packet;
    int fd = host_connect(guest);
    host_write(fd, "CONNECT 52\n", 11);
    guest_expect(guest, VIRTIO_VSOCK_OP_REQUEST, &packet);
    uint32_t host_port = packet.header.src_port;
    close(fd);
    guest_expect(guest, VIRTIO_VSOCK_OP_RST, &packet);
    assert_int_equal(packet.header.src_port, host_port);
    assert_int_equal(packet.header.dst_port, PORT);
    /* An answer that comes too late finds nobody. */
    send_op(guest, VIRTIO_VSOCK_OP_RESPONSE, PORT, host_port, 0);
    guest_expect(guest, VIRTIO_VSOCK_OP_RST, NULL);
}

static void test_guest_to_host(void **state)
{
    struct guest *guest = *state;
    struct packet packet;
    int listener = host_listen(guest, 1025);
    send_op(guest, VIRTIO_VSOCK_OP_REQUEST, PORT, 1025, 0);
    guest_expect(guest, VIRTIO_VSOCK_OP_RESPONSE, &packet);
    assert_int_equal(packet.header.src_port, 1025);
    assert_int_equal(packet.header.dst_port, PORT);
    assert_int_equal(packet.header.buf_alloc, 65536);
    int fd = accept(listener, NULL, NULL);
    assert_true(fd >= 0);
    send_text(guest, 1025, "ready");
    read_text(fd, "ready");
    host_write(fd, "fine", 4);
    expect_text(guest, "fine");
    close(fd);
    close(listener);
}

static void test_guest_to_nobody(void **state)
{
    struct guest *guest = *state;
    struct packet packet;
    send_op(guest, VIRTIO_VSOCK_OP_REQUEST, PORT, 1026, 0);
    guest_expect(guest, VIRTIO_VSOCK_OP_RST, &packet);
    assert_int_equal(packet.header.src_port, 1026);
    assert_int_equal(packet.header.dst_port, PORT);
    assert_int_equal(packet.header.src_cid, 2);
}

/* ---- many megabytes ---- */

struct worker {
    pthread_t thread;
    int fd;
    size_t wrong;
};

static void *write_stream(void *argument)
{
    struct worker *worker = argument;
    uint8_t buffer[10007];
    for (size_t done = 0; done < STREAM_SIZE;) {
        size_t length = STREAM_SIZE - done < sizeof(buffer) ? STREAM_SIZE - done : sizeof(buffer);
        for (size_t i = 0; i < length; i++)
            buffer[i] = content(done + i);
        ssize_t n = send(worker->fd, buffer, length, MSG_NOSIGNAL);
        if (n <= 0)
            break;
        done += (size_t)n;
    }
    shutdown(worker->fd, SHUT_WR);
    return NULL;
}

static void *read_stream(void *argument)
{
    struct worker *worker = argument;
    uint8_t buffer[9973];
    size_t done = 0;
    for (;;) {
        ssize_t n = recv(worker->fd, buffer, sizeof(buffer), 0);
        if (n <= 0)
            break;
        for (ssize_t i = 0; i < n; i++)
            worker->wrong += buffer[i] != content(done + (size_t)i);
        done += (size_t)n;
    }
    worker->wrong += STREAM_SIZE - done;
    return NULL;
}

/* The guest takes data in its own time: the device never has more than `alloc` bytes on the way. */
static void drain_as_guest(struct guest *guest, uint32_t host, uint32_t alloc)
{
    struct packet packet;
    size_t received = 0;
    uint32_t told = 0;
    for (;;) {
        guest_receive(guest, &packet);
        if (packet.header.op == VIRTIO_VSOCK_OP_SHUTDOWN)
            break;
        if (packet.header.op == VIRTIO_VSOCK_OP_RW) {
            for (size_t i = 0; i < packet.header.len; i++)
                assert_int_equal(packet.data[i], content(received + i));
            received += packet.header.len;
            assert_true(received - told <= alloc);
        }
        /* An update when it is asked for, which is when the credit is used up. */
        if (packet.header.op == VIRTIO_VSOCK_OP_CREDIT_REQUEST) {
            struct virtio_vsock_hdr update =
                guest_header(VIRTIO_VSOCK_OP_CREDIT_UPDATE, PORT, host);
            update.buf_alloc = alloc;
            update.fwd_cnt = told = (uint32_t)received;
            guest_send(guest, &update, NULL, 0);
        }
    }
    assert_int_equal(received, STREAM_SIZE);
    assert_int_equal(packet.header.flags, VIRTIO_VSOCK_SHUTDOWN_SEND);
}

static void test_megabytes_to_guest(void **state)
{
    static const uint32_t allocs[] = {65536, 5000, 262144};
    struct guest *guest = *state;
    for (size_t i = 0; i < ARRAY_SIZE(allocs); i++) {
        uint32_t host = 0;
        struct worker worker = {.fd = stream_from_host(guest, PORT, allocs[i], &host)};
        assert_int_equal(pthread_create(&worker.thread, NULL, write_stream, &worker), 0);
        drain_as_guest(guest, host, allocs[i]);
        pthread_join(worker.thread, NULL);
        send_op(guest, VIRTIO_VSOCK_OP_RST, PORT, host, 0);
        assert_true(host_at_end(worker.fd));
        close(worker.fd);
    }
}

/* Sends as much as the device's credit allows and waits for updates; returns when all is sent. */
static void send_as_guest(struct guest *guest, uint32_t host, size_t packet_size)
{
    uint8_t *buffer = malloc(packet_size);
    struct packet packet;
    uint32_t forwarded = 0;
    size_t sent = 0;
    assert_non_null(buffer);
    while (sent < STREAM_SIZE) {
        size_t room = 65536 - ((uint32_t)sent - forwarded);
        size_t length = packet_size < room ? packet_size : room;
        if (length > STREAM_SIZE - sent)
            length = STREAM_SIZE - sent;
        if (length == 0) {
            guest_receive(guest, &packet);
            assert_int_equal(packet.header.op, VIRTIO_VSOCK_OP_CREDIT_UPDATE);
            forwarded = packet.header.fwd_cnt;
            continue;
        }
        for (size_t i = 0; i < length; i++)
            buffer[i] = content(sent + i);
        const struct virtio_vsock_hdr header = guest_header(VIRTIO_VSOCK_OP_RW, PORT, host);
        guest_send(guest, &header, buffer, length);
        sent += length;
        while (guest_has_packet(guest)) {
            guest_receive(guest, &packet);
            assert_int_equal(packet.header.op, VIRTIO_VSOCK_OP_CREDIT_UPDATE);
            forwarded = packet.header.fwd_cnt;
        }
    }
    free(buffer);
}

static void test_megabytes_to_host(void **state)
{
    static const size_t sizes[] = {65536, 4096, 1500};
    struct guest *guest = *state;
    for (size_t i = 0; i < ARRAY_SIZE(sizes); i++) {
        uint32_t host = 0;
        struct worker worker = {.fd = stream_from_host(guest, PORT, ALLOC, &host)};
        assert_int_equal(pthread_create(&worker.thread, NULL, read_stream, &worker), 0);
        send_as_guest(guest, host, sizes[i]);
        /* Closing does not lose what is still on its way. */
        send_op(guest, VIRTIO_VSOCK_OP_SHUTDOWN, PORT, host, 3);
        guest_expect(guest, VIRTIO_VSOCK_OP_RST, NULL);
        pthread_join(worker.thread, NULL);
        assert_int_equal(worker.wrong, 0);
        close(worker.fd);
    }
}

/* A guest that asks for the credit gets it. */
static void test_credit_request(void **state)
{
    struct guest *guest = *state;
    struct packet packet;
    uint32_t host = 0;
    int fd = stream_from_host(guest, PORT, ALLOC, &host);
    send_text(guest, host, "12345");
    read_text(fd, "12345");
    send_op(guest, VIRTIO_VSOCK_OP_CREDIT_REQUEST, PORT, host, 0);
    guest_receive(guest, &packet);
    assert_int_equal(packet.header.op, VIRTIO_VSOCK_OP_CREDIT_UPDATE);
    assert_int_equal(packet.header.fwd_cnt, 5);
    assert_int_equal(packet.header.buf_alloc, 65536);
    close(fd);
}

/* ---- ends ---- */

static void test_host_half_close(void **state)
{
    struct guest *guest = *state;
    struct packet packet;
    uint32_t host = 0;
    int fd = stream_from_host(guest, PORT, ALLOC, &host);
    host_write(fd, "last words", 10);
    shutdown(fd, SHUT_WR);
    expect_text(guest, "last words");
    guest_expect(guest, VIRTIO_VSOCK_OP_SHUTDOWN, &packet);
    assert_int_equal(packet.header.flags, VIRTIO_VSOCK_SHUTDOWN_SEND);
    send_text(guest, host, "I can still talk");
    read_text(fd, "I can still talk");
    /* Now the rest. */
    close(fd);
    guest_expect(guest, VIRTIO_VSOCK_OP_SHUTDOWN, &packet);
    assert_int_equal(packet.header.flags, 3);
    send_op(guest, VIRTIO_VSOCK_OP_RST, PORT, host, 0);
    guest_barrier(guest);
}

static void test_guest_half_close(void **state)
{
    struct guest *guest = *state;
    uint32_t host = 0;
    int fd = stream_from_host(guest, PORT, ALLOC, &host);
    send_text(guest, host, "last words");
    send_op(guest, VIRTIO_VSOCK_OP_SHUTDOWN, PORT, host, VIRTIO_VSOCK_SHUTDOWN_SEND);
    read_text(fd, "last words");
    assert_true(host_at_end(fd));
    host_write(fd, "I can still talk", 16);
    expect_text(guest, "I can still talk");
    send_op(guest, VIRTIO_VSOCK_OP_SHUTDOWN, PORT, host, VIRTIO_VSOCK_SHUTDOWN_RCV);
    guest_expect(guest, VIRTIO_VSOCK_OP_RST, NULL);
    close(fd);
}

/* The guest reads no more: the host gets EPIPE, and can still read. */
static void test_guest_stops_reading(void **state)
{
    struct guest *guest = *state;
    uint32_t host = 0;
    int fd = stream_from_host(guest, PORT, ALLOC, &host);
    send_op(guest, VIRTIO_VSOCK_OP_SHUTDOWN, PORT, host, VIRTIO_VSOCK_SHUTDOWN_RCV);
    assert_int_equal(send(fd, "x", 1, MSG_NOSIGNAL), -1);
    assert_int_equal(errno, EPIPE);
    send_text(guest, host, "listen");
    read_text(fd, "listen");
    close(fd);
    guest_expect(guest, VIRTIO_VSOCK_OP_SHUTDOWN, NULL);
}

static void test_host_closes(void **state)
{
    struct guest *guest = *state;
    struct packet packet;
    uint32_t host = 0;
    int fd = stream_from_host(guest, PORT, ALLOC, &host);
    host_write(fd, "all of this", 11);
    close(fd);
    expect_text(guest, "all of this");
    guest_expect(guest, VIRTIO_VSOCK_OP_SHUTDOWN, &packet);
    assert_int_equal(packet.header.flags, 3);
    send_text(guest, host, "too late"); /* sent before the SHUTDOWN was seen: ignored */
    send_op(guest, VIRTIO_VSOCK_OP_SHUTDOWN, PORT, host, 3);
    guest_expect(guest, VIRTIO_VSOCK_OP_RST, NULL);
    guest_barrier(guest);
}

/* Sends until neither the host's socket nor the device's buffer takes any more; returns how much.
 */
static size_t send_until_full(struct guest *guest, uint32_t host)
{
    static uint8_t data[GUEST_DATA];
    struct packet packet;
    uint32_t sent = 0, forwarded = 0;
    const struct virtio_vsock_hdr header = guest_header(VIRTIO_VSOCK_OP_RW, PORT, host);
    while (sent - forwarded < ALLOC) {
        for (size_t i = 0; i < sizeof(data); i++)
            data[i] = content(sent + i);
        guest_send(guest, &header, data, sizeof(data));
        sent += sizeof(data);
        while (sent - forwarded == ALLOC && guest_has_packet(guest)) {
            guest_receive(guest, &packet);
            forwarded = packet.header.fwd_cnt;
        }
    }
    return sent;
}

/* The host does not read what it was sent, and the guest closes: the guest is done at once, and the
 * host still gets all of it, however late it reads. */
static void test_guest_closes_first(void **state)
{
    struct guest *guest = *state;
    uint32_t host = 0, other = 0;
    int fd = stream_from_host(guest, PORT, ALLOC, &host);
    size_t sent = send_until_full(guest, host);
    send_op(guest, VIRTIO_VSOCK_OP_SHUTDOWN, PORT, host, 3);
    guest_expect(guest, VIRTIO_VSOCK_OP_RST, NULL);
    /* For the guest the connection is gone. */
    send_op(guest, VIRTIO_VSOCK_OP_RW, PORT, host, 0);
    guest_expect(guest, VIRTIO_VSOCK_OP_RST, NULL);
    int second = stream_from_host(guest, PORT, ALLOC, &other);
    size_t wrong = 0;
    for (size_t done = 0; done < sent; done++) {
        uint8_t byte = 0;
        host_read(fd, &byte, 1);
        wrong += byte != content(done);
    }
    assert_int_equal(wrong, 0);
    assert_true(host_at_end(fd));
    close(fd);
    close(second);
    guest_expect(guest, VIRTIO_VSOCK_OP_SHUTDOWN, NULL);
}

/* The same, but the host never reads: its close is the end. */
static void test_both_close_unread(void **state)
{
    struct guest *guest = *state;
    uint32_t host = 0;
    int fd = stream_from_host(guest, PORT, ALLOC, &host);
    send_until_full(guest, host);
    send_op(guest, VIRTIO_VSOCK_OP_SHUTDOWN, PORT, host, 3);
    guest_expect(guest, VIRTIO_VSOCK_OP_RST, NULL);
    close(fd);
    fd = stream_from_host(guest, PORT, ALLOC, &host); /* and all else goes on */
    send_text(guest, host, "hello");
    read_text(fd, "hello");
    close(fd);
    guest_expect(guest, VIRTIO_VSOCK_OP_SHUTDOWN, NULL);
}

/* ---- scarcity ---- */

static uint64_t cpu_ns(pthread_t thread)
{
    struct timespec used;
    clockid_t clock = 0;
    assert_int_equal(pthread_getcpuclockid(thread, &clock), 0);
    assert_int_equal(clock_gettime(clock, &used), 0);
    return (uint64_t)used.tv_sec * 1000000000u + (uint64_t)used.tv_nsec;
}

/* Without receive buffers everything waits, quietly; then all of it arrives. */
static void test_rx_starvation(void **state)
{
    struct guest *guest = *state;
    static uint8_t data[4 * GUEST_QUEUE * GUEST_DATA];
    struct packet packet;
    uint32_t host = 0;
    size_t received = 0;
    for (size_t i = 0; i < sizeof(data); i++)
        data[i] = content(i);
    int fd = stream_from_host(guest, PORT, 1u << 20, &host);
    guest->withhold_rx = true;
    int listener = host_listen(guest, 7);
    /* Less than the default size of a socket's buffer, so that it does not block. */
    host_write(fd, data, 100000);
    for (unsigned i = 0; i < GUEST_QUEUE; i++) {
        guest_receive(guest, &packet);
        received += packet.header.len;
    }
    close(fd); /* a hang-up that nobody can be told of yet */
    send_op(guest, VIRTIO_VSOCK_OP_REQUEST, PORT, 7, 0);
    uint64_t before = cpu_ns(guest->thread);
    time_sleep_ms(200);
    assert_true(cpu_ns(guest->thread) - before < 100000000u);
    assert_false(guest_has_packet(guest));
    guest_refill(guest);
    bool responded = false;
    do {
        guest_receive(guest, &packet);
        responded |= packet.header.op == VIRTIO_VSOCK_OP_RESPONSE;
        if (packet.header.op == VIRTIO_VSOCK_OP_RW) {
            assert_memory_equal(packet.data, data + received, packet.header.len);
            received += packet.header.len;
        }
    } while (packet.header.op != VIRTIO_VSOCK_OP_SHUTDOWN);
    assert_int_equal(received, 100000);
    assert_true(responded);
    close(listener);
}

/* 1023 connections; the next waits in the backlog until one ends. */
static void test_connection_limit(void **state)
{
    const struct rlimit files = {.rlim_cur = 4096, .rlim_max = 4096};
    struct guest *guest = *state;
    struct packet packet;
    static int fds[1024];
    uint32_t first = 0, host = 0;
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &files), 0);
    for (int i = 0; i < 1023; i++) {
        fds[i] = stream_from_host(guest, PORT, ALLOC, &host);
        first = i == 0 ? host : first;
    }
    assert_int_equal(host, first + 1022);
    fds[1023] = host_connect(guest);
    host_write(fds[1023], "CONNECT 52\n", 11);
    /* Nor can the guest open one more. */
    int listener = host_listen(guest, 7);
    send_op(guest, VIRTIO_VSOCK_OP_REQUEST, PORT, 7, 0);
    guest_expect(guest, VIRTIO_VSOCK_OP_RST, NULL);
    guest_barrier(guest);
    send_op(guest, VIRTIO_VSOCK_OP_RST, PORT, first, 0);
    guest_expect(guest, VIRTIO_VSOCK_OP_REQUEST, &packet);
    assert_int_equal(packet.header.src_port, host + 1);
    for (int i = 0; i < 1024; i++)
        close(fds[i]);
    close(listener);
}

/* Clients that come before the driver wait for it. */
static void test_before_driver(void **state)
{
    struct guest *guest = guest_create(true);
    struct packet packet;
    int fd = host_connect(guest);
    host_write(fd, "CONNECT 52\n", 11);
    guest_init_registers(guest);
    guest_fill_rx(guest, GUEST_QUEUE, sizeof(struct virtio_vsock_hdr) + GUEST_DATA);
    guest_expect(guest, VIRTIO_VSOCK_OP_REQUEST, &packet);
    assert_int_equal(packet.header.src_port, 1u << 30);
    /* A driver that starts anew finds no old connections. */
    guest_set_register(guest, VIRTIO_MMIO_STATUS, 0);
    assert_true(host_at_end(fd));
    close(fd);
    guest_init_registers(guest);
    guest_fill_rx(guest, GUEST_QUEUE, sizeof(struct virtio_vsock_hdr) + GUEST_DATA);
    guest_barrier(guest);
    guest_destroy(guest);
}

#define STREAM_TEST(test) cmocka_unit_test_setup_teardown(test, guest_setup, guest_teardown)
#define PLAIN_TEST(test)                                                          \
    {                                                                             \
#        test " without EVENT_IDX", test, guest_setup_plain, guest_teardown, NULL \
    }

int main(void)
{
    const struct CMUnitTest tests[] = {
        STREAM_TEST(test_config_space),         STREAM_TEST(test_host_to_guest),
        PLAIN_TEST(test_host_to_guest),         STREAM_TEST(test_connect_line),
        STREAM_TEST(test_connect_line_refused), STREAM_TEST(test_guest_refuses),
        STREAM_TEST(test_client_gives_up),      STREAM_TEST(test_guest_to_host),
        STREAM_TEST(test_guest_to_nobody),      STREAM_TEST(test_megabytes_to_guest),
        PLAIN_TEST(test_megabytes_to_guest),    STREAM_TEST(test_megabytes_to_host),
        PLAIN_TEST(test_megabytes_to_host),     STREAM_TEST(test_credit_request),
        STREAM_TEST(test_host_half_close),      STREAM_TEST(test_guest_half_close),
        STREAM_TEST(test_guest_stops_reading),  STREAM_TEST(test_host_closes),
        STREAM_TEST(test_guest_closes_first),   STREAM_TEST(test_both_close_unread),
        STREAM_TEST(test_rx_starvation),        PLAIN_TEST(test_rx_starvation),
        STREAM_TEST(test_connection_limit),     cmocka_unit_test(test_before_driver),
    };
    return cmocka_run_group_tests_name("vsock streams", tests, NULL, NULL);
}
