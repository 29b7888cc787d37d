/* SPDX-License-Identifier: Apache-2.0 */
/* How connections begin, in both directions, and how they end. */
/* clang-format off */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>
/* clang-format on */
#include <errno.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "guest_driver.h"
#include "streams.h"

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

int main(void)
{
    const struct CMUnitTest tests[] = {
        STREAM_TEST(test_config_space),         STREAM_TEST(test_host_to_guest),
        PLAIN_TEST(test_host_to_guest),         STREAM_TEST(test_connect_line),
        STREAM_TEST(test_connect_line_refused), STREAM_TEST(test_guest_refuses),
        STREAM_TEST(test_client_gives_up),      STREAM_TEST(test_guest_to_host),
        STREAM_TEST(test_guest_to_nobody),      STREAM_TEST(test_host_half_close),
        STREAM_TEST(test_guest_half_close),     STREAM_TEST(test_guest_stops_reading),
        STREAM_TEST(test_host_closes),          STREAM_TEST(test_guest_closes_first),
        STREAM_TEST(test_both_close_unread),    cmocka_unit_test(test_before_driver),
    };
    return cmocka_run_group_tests_name("vsock connections", tests, NULL, NULL);
}
