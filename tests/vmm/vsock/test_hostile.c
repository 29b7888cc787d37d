/* SPDX-License-Identifier: Apache-2.0 */
/* A guest that breaks the rules: each time the connection concerned ends, and all else works on. */
/* clang-format off */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>
/* clang-format on */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "base/clock.h"
#include "guest_driver.h"

#define PORT  52u
#define ALLOC 65536u

static void send_op(struct guest *guest, uint16_t op, uint32_t host)
{
    const struct virtio_vsock_hdr header = guest_header(op, PORT, host);
    guest_send(guest, &header, NULL, 0);
}

/* The device is well and serves a new connection. */
static void still_works(struct guest *guest)
{
    struct packet packet;
    uint32_t host = 0;
    assert_int_equal(guest_register(guest, VIRTIO_MMIO_STATUS), 15);
    int fd = stream_from_host(guest, PORT, ALLOC, &host);
    host_write(fd, "x", 1);
    guest_expect(guest, VIRTIO_VSOCK_OP_RW, &packet);
    assert_int_equal(packet.data[0], 'x');
    send_op(guest, VIRTIO_VSOCK_OP_RST, host);
    assert_true(host_at_end(fd));
    close(fd);
}

/* The connection of `fd` was ended, and the guest told so. */
static void is_reset(struct guest *guest, int fd, uint32_t host)
{
    struct packet packet;
    char byte = 0;
    guest_expect(guest, VIRTIO_VSOCK_OP_RST, &packet);
    assert_int_equal(packet.header.src_port, host);
    assert_int_equal(packet.header.dst_port, PORT);
    while (recv(fd, &byte, 1, 0) > 0)
        ;
    close(fd);
    still_works(guest);
}

static void test_short_packets(void **state)
{
    struct guest *guest = *state;
    uint8_t bytes[64];
    memset(bytes, 0xff, sizeof(bytes));
    for (size_t length = 1; length <= 44; length++)
        guest_send_raw(guest, bytes, length);
    /* A whole header that promises data which is not there. */
    struct virtio_vsock_hdr header = guest_header(VIRTIO_VSOCK_OP_RW, PORT, 1);
    header.src_cid = GUEST_CID;
    header.dst_cid = 2;
    header.type = VIRTIO_VSOCK_TYPE_STREAM;
    header.len = 1;
    guest_send_raw(guest, &header, sizeof(header));
    header.len = UINT32_MAX;
    guest_send_raw(guest, &header, sizeof(header));
    still_works(guest);
}

static void test_addresses(void **state)
{
    static const struct virtio_vsock_hdr wrong[] = {
        {.op = VIRTIO_VSOCK_OP_REQUEST, .dst_cid = 1, .src_port = PORT, .dst_port = 9},
        {.op = VIRTIO_VSOCK_OP_REQUEST, .dst_cid = 0xffffffffull << 32, .src_port = PORT},
        {.op = VIRTIO_VSOCK_OP_REQUEST, .src_cid = GUEST_CID + 1, .src_port = PORT, .dst_port = 9},
        {.op = VIRTIO_VSOCK_OP_REQUEST, .type = VIRTIO_VSOCK_TYPE_SEQPACKET, .src_port = PORT},
        {.op = VIRTIO_VSOCK_OP_REQUEST, .type = 0x7777, .src_port = PORT, .dst_port = 9},
        {.op = VIRTIO_VSOCK_OP_RW, .src_port = PORT, .dst_port = 9},
        {.op = VIRTIO_VSOCK_OP_RESPONSE, .src_port = PORT, .dst_port = 9},
        {.op = VIRTIO_VSOCK_OP_SHUTDOWN, .src_port = PORT, .dst_port = 9},
        {.op = VIRTIO_VSOCK_OP_CREDIT_REQUEST, .src_port = PORT, .dst_port = 9},
        {.op = 0, .src_port = PORT, .dst_port = 9},
        {.op = 0xffff, .src_port = PORT, .dst_port = 9},
    };
    struct guest *guest = *state;
    struct packet packet;
    for (size_t i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++) {
        guest_send(guest, &wrong[i], NULL, 0);
        guest_expect(guest, VIRTIO_VSOCK_OP_RST, &packet);
        assert_int_equal(packet.header.src_cid, wrong[i].dst_cid ? wrong[i].dst_cid : 2);
        assert_int_equal(packet.header.src_port, wrong[i].dst_port);
        assert_int_equal(packet.header.dst_port, PORT);
        assert_int_equal(packet.header.type,
                         wrong[i].type ? wrong[i].type : VIRTIO_VSOCK_TYPE_STREAM);
    }
    /* A reset is never answered by a reset. */
    send_op(guest, VIRTIO_VSOCK_OP_RST, 9);
    guest_barrier(guest);
    still_works(guest);
}

static void test_operations(void **state)
{
    static const uint16_t wrong[] = {VIRTIO_VSOCK_OP_INVALID, VIRTIO_VSOCK_OP_REQUEST,
                                     VIRTIO_VSOCK_OP_RESPONSE, 8, 0xffff};
    struct guest *guest = *state;
    for (size_t i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++) {
        uint32_t host = 0;
        int fd = stream_from_host(guest, PORT, ALLOC, &host);
        send_op(guest, wrong[i], host);
        is_reset(guest, fd, host);
    }
}

static void test_before_response(void **state)
{
    static const uint16_t wrong[] = {VIRTIO_VSOCK_OP_RW, VIRTIO_VSOCK_OP_SHUTDOWN,
                                     VIRTIO_VSOCK_OP_REQUEST};
    struct guest *guest = *state;
    for (size_t i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++) {
        struct packet packet;
        int fd = host_connect(guest);
        host_write(fd, "CONNECT 52\n", 11);
        guest_expect(guest, VIRTIO_VSOCK_OP_REQUEST, &packet);
        uint32_t host = packet.header.src_port;
        send_op(guest, wrong[i], host);
        is_reset(guest, fd, host);
    }
}

static void test_more_than_credit(void **state)
{
    struct guest *guest = *state;
    static uint8_t data[65536 + 1];
    uint32_t host = 0;
    int fd = stream_from_host(guest, PORT, ALLOC, &host);
    const struct virtio_vsock_hdr header = guest_header(VIRTIO_VSOCK_OP_RW, PORT, host);
    guest_send(guest, &header, data, sizeof(data));
    is_reset(guest, fd, host);
    /* And in many packets that the host does not read. */
    fd = stream_from_host(guest, PORT, ALLOC, &host);
    const struct virtio_vsock_hdr again = guest_header(VIRTIO_VSOCK_OP_RW, PORT, host);
    for (int i = 0; i < 200; i++)
        guest_send(guest, &again, data, 4096);
    while (true) {
        struct packet packet;
        guest_receive(guest, &packet);
        if (packet.header.op == VIRTIO_VSOCK_OP_RST)
            break;
        assert_int_equal(packet.header.op, VIRTIO_VSOCK_OP_CREDIT_UPDATE);
    }
    close(fd);
}

static void test_data_after_shutdown(void **state)
{
    struct guest *guest = *state;
    uint32_t host = 0;
    int fd = stream_from_host(guest, PORT, ALLOC, &host);
    struct virtio_vsock_hdr header = guest_header(VIRTIO_VSOCK_OP_SHUTDOWN, PORT, host);
    header.flags = VIRTIO_VSOCK_SHUTDOWN_SEND;
    guest_send(guest, &header, NULL, 0);
    header = guest_header(VIRTIO_VSOCK_OP_RW, PORT, host);
    guest_send(guest, &header, "x", 1);
    is_reset(guest, fd, host);
}

/* Numbers that say that more was taken than was sent: the guest gets nothing until it makes sense
 * again, and nobody else is affected. */
static void test_credit_lies(void **state)
{
    struct guest *guest = *state;
    struct packet packet;
    uint32_t host = 0;
    int fd = stream_from_host(guest, PORT, ALLOC, &host);
    struct virtio_vsock_hdr update = guest_header(VIRTIO_VSOCK_OP_CREDIT_UPDATE, PORT, host);
    update.buf_alloc = 1000;
    update.fwd_cnt = 5000;
    guest_send(guest, &update, NULL, 0);
    host_write(fd, "x", 1);
    still_works(guest);
    update.fwd_cnt = 0;
    guest_send(guest, &update, NULL, 0);
    guest_expect(guest, VIRTIO_VSOCK_OP_RW, &packet);
    assert_int_equal(packet.data[0], 'x');
    close(fd);
}

static uint64_t cpu_ns(pthread_t thread)
{
    struct timespec used;
    clockid_t clock = 0;
    assert_int_equal(pthread_getcpuclockid(thread, &clock), 0);
    assert_int_equal(clock_gettime(clock, &used), 0);
    return (uint64_t)used.tv_sec * 1000000000u + (uint64_t)used.tv_nsec;
}

/* Receive buffers too small for a header, and some with room for nothing else. */
static void test_receive_buffers(void **state)
{
    static const uint32_t sizes[] = {1, 43, 44};
    for (size_t i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
        struct guest *guest = guest_create(true);
        guest_init_registers(guest);
        guest_fill_rx(guest, GUEST_QUEUE, sizes[i]);
        int fd = host_connect(guest);
        host_write(fd, "CONNECT 52\n", 11);
        if (sizes[i] == 44) {
            struct packet packet;
            guest_expect(guest, VIRTIO_VSOCK_OP_REQUEST, &packet);
            send_op(guest, VIRTIO_VSOCK_OP_RESPONSE, packet.header.src_port);
            host_write(fd, "data", 4);
            guest->withhold_rx = true;
            /* Every buffer is used up, and then it is quiet. */
            for (unsigned n = 0; n < GUEST_QUEUE; n++)
                guest_receive(guest, &packet);
        }
        uint64_t before = cpu_ns(guest->thread);
        time_sleep_ms(100);
        assert_true(cpu_ns(guest->thread) - before < 50000000u);
        close(fd);
        guest_destroy(guest);
    }
}

/* Resets that the guest provokes and never takes stay bounded. */
static void test_reset_flood(void **state)
{
    struct guest *guest = *state;
    struct packet packet;
    guest->withhold_rx = true;
    for (unsigned i = 0; i < 3000; i++)
        send_op(guest, VIRTIO_VSOCK_OP_RW, i + 1);
    for (unsigned i = 0; i < GUEST_QUEUE; i++)
        guest_receive(guest, &packet);
    guest_refill(guest);
    unsigned count = GUEST_QUEUE;
    /* A new connection is served after the last of them. */
    int fd = host_connect(guest);
    host_write(fd, "CONNECT 52\n", 11);
    for (;;) {
        guest_receive(guest, &packet);
        if (packet.header.op == VIRTIO_VSOCK_OP_REQUEST)
            break;
        assert_int_equal(packet.header.op, VIRTIO_VSOCK_OP_RST);
        count++;
    }
    assert_true(count >= 1024 && count <= 1024 + GUEST_QUEUE);
    close(fd);
}

/* Packets at random over a few ports and connections: nothing breaks. */
static void test_random_packets(void **state)
{
    struct guest *guest = *state;
    static uint8_t data[70000];
    struct packet packet;
    uint32_t hosts[4];
    int fds[4];
    unsigned seed = 42;
    int listener = host_listen(guest, 7);
    for (int i = 0; i < 4; i++)
        fds[i] = stream_from_host(guest, PORT, ALLOC, &hosts[i]);
    for (int i = 0; i < 20000; i++) {
        struct virtio_vsock_hdr header = guest_header(
            (uint16_t)(rand_r(&seed) % 9), PORT, rand_r(&seed) % 5 ? hosts[rand_r(&seed) % 4] : 7);
        header.flags = (uint32_t)rand_r(&seed);
        header.fwd_cnt = rand_r(&seed) % 2 ? 0 : (uint32_t)rand_r(&seed);
        header.buf_alloc = (uint32_t)rand_r(&seed);
        size_t length = header.op == VIRTIO_VSOCK_OP_RW ? (size_t)rand_r(&seed) % 5000 : 0;
        guest_send(guest, &header, data, length);
        while (guest_has_packet(guest))
            guest_receive(guest, &packet);
        int one = rand_r(&seed) % 4;
        if (recv(fds[one], data, sizeof(data), MSG_DONTWAIT) == 0) {
            close(fds[one]);
            /* What is on its way for others first: the handshake wants to be alone. */
            struct virtio_vsock_hdr reset = guest_header(VIRTIO_VSOCK_OP_RST, PORT, hosts[one]);
            guest_send(guest, &reset, NULL, 0);
            fds[one] = host_connect(guest);
            host_write(fds[one], "CONNECT 52\n", 11);
            do
                guest_receive(guest, &packet);
            while (packet.header.op != VIRTIO_VSOCK_OP_REQUEST);
            hosts[one] = packet.header.src_port;
            send_op(guest, VIRTIO_VSOCK_OP_RESPONSE, hosts[one]);
        }
    }
    assert_int_equal(guest_register(guest, VIRTIO_MMIO_STATUS), 15);
    for (int i = 0; i < 4; i++)
        close(fds[i]);
    close(listener);
}

#define HOSTILE_TEST(test) cmocka_unit_test_setup_teardown(test, guest_setup, guest_teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        HOSTILE_TEST(test_short_packets),    HOSTILE_TEST(test_addresses),
        HOSTILE_TEST(test_operations),       HOSTILE_TEST(test_before_response),
        HOSTILE_TEST(test_more_than_credit), HOSTILE_TEST(test_data_after_shutdown),
        HOSTILE_TEST(test_credit_lies),      cmocka_unit_test(test_receive_buffers),
        HOSTILE_TEST(test_reset_flood),      HOSTILE_TEST(test_random_packets),
    };
    return cmocka_run_group_tests_name("vsock hostile guest", tests, NULL, NULL);
}
