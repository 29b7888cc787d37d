/* SPDX-License-Identifier: Apache-2.0 */
/* Much data in both directions, credit, and what happens when buffers or places are scarce. */
/* clang-format off */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>
/* clang-format on */
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/clock.h"
#include "guest_driver.h"
#include "streams.h"

#define STREAM_SIZE (6u << 20)

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

/* ---- scarcity ---- */

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

/* A guest that connects without end leaves descriptors to the rest of the VMM: a quarter of them.
 */
static void test_descriptors_are_left(void **state)
{
    struct guest *guest = *state;
    struct packet packet;
    struct rlimit before;
    unsigned count = 0;
    int listener = host_listen(guest, 7); /* its backlog costs no descriptors here */
    assert_int_equal(getrlimit(RLIMIT_NOFILE, &before), 0);
    const struct rlimit few = {.rlim_cur = 200, .rlim_max = before.rlim_max};
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &few), 0);
    do {
        send_op(guest, VIRTIO_VSOCK_OP_REQUEST, PORT + count, 7, 0);
        guest_receive(guest, &packet);
        assert_int_equal(packet.header.dst_port, PORT + count);
        count += packet.header.op == VIRTIO_VSOCK_OP_RESPONSE;
    } while (packet.header.op == VIRTIO_VSOCK_OP_RESPONSE);
    assert_int_equal(packet.header.op, VIRTIO_VSOCK_OP_RST);
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &before), 0);
    assert_int_equal(count, 150);
    close(listener);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        STREAM_TEST(test_megabytes_to_guest),   PLAIN_TEST(test_megabytes_to_guest),
        STREAM_TEST(test_megabytes_to_host),    PLAIN_TEST(test_megabytes_to_host),
        STREAM_TEST(test_credit_request),       STREAM_TEST(test_rx_starvation),
        PLAIN_TEST(test_rx_starvation),         STREAM_TEST(test_connection_limit),
        STREAM_TEST(test_descriptors_are_left),
    };
    return cmocka_run_group_tests_name("vsock streams", tests, NULL, NULL);
}
