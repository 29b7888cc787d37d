/* SPDX-License-Identifier: Apache-2.0 */
#include "streams.h"

/* clang-format off */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>
/* clang-format on */
#include <pthread.h>
#include <string.h>
#include <time.h>

#include "guest_driver.h"

uint8_t content(size_t position)
{
    return (uint8_t)(position * 7 + position / 251);
}

void send_op(struct guest *guest, uint16_t op, uint32_t port, uint32_t host, uint32_t flags)
{
    struct virtio_vsock_hdr header = guest_header(op, port, host);
    header.flags = flags;
    guest_send(guest, &header, NULL, 0);
}

void send_text(struct guest *guest, uint32_t host, const char *text)
{
    const struct virtio_vsock_hdr header = guest_header(VIRTIO_VSOCK_OP_RW, PORT, host);
    guest_send(guest, &header, text, strlen(text));
}

void expect_text(struct guest *guest, const char *text)
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

void read_text(int fd, const char *text)
{
    char buffer[64];
    host_read(fd, buffer, strlen(text));
    assert_memory_equal(buffer, text, strlen(text));
}

uint64_t cpu_ns(pthread_t thread)
{
    struct timespec used;
    clockid_t clock = 0;
    assert_int_equal(pthread_getcpuclockid(thread, &clock), 0);
    assert_int_equal(clock_gettime(clock, &used), 0);
    return (uint64_t)used.tv_sec * 1000000000u + (uint64_t)used.tv_nsec;
}
