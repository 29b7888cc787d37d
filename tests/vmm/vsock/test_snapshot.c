/* SPDX-License-Identifier: Apache-2.0 */
/* Save and load: connections end, the guest is told by the transport-reset event, in the source as
 * in the copy, and nothing reaches it before it has dealt with that. */
/* clang-format off */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>
/* clang-format on */
#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "guest_driver.h"

#define PORT  52u
#define ALLOC 65536u
#define SLOT  3u

/* What vsock_save() writes: device.c's struct vsock_state, version 1, byte by byte. */
struct saved {
    uint64_t guest_cid;
    uint32_t last_host_port;
    uint16_t event_available;
    uint8_t reset_stage;
    uint8_t reserved;
};

static void save(struct guest *guest, struct state_writer *writer)
{
    struct error err = {0};
    state_writer_init(writer);
    pthread_mutex_lock(&guest->lock);
    assert_int_equal(virtio_mmio_save(guest->transport, writer, &err), 0);
    pthread_mutex_unlock(&guest->lock);
    assert_int_equal(state_writer_finish(writer, &err), 0);
}

static int load(struct guest *guest, const struct state_writer *saved, struct error *err)
{
    struct state_reader reader;
    assert_int_equal(state_reader_open(&reader, saved->data, saved->length, err), 0);
    pthread_mutex_lock(&guest->lock);
    int r = virtio_mmio_load(guest->transport, &reader, err);
    pthread_mutex_unlock(&guest->lock);
    return r;
}

static void kick(struct guest *guest)
{
    pthread_mutex_lock(&guest->lock);
    virtio_mmio_kick(guest->transport);
    pthread_mutex_unlock(&guest->lock);
}

static struct saved section(const struct state_writer *writer)
{
    struct state_reader reader;
    struct saved saved;
    assert_int_equal(state_reader_open(&reader, writer->data, writer->length, NULL), 0);
    assert_int_equal(state_get(&reader, STATE_VIRTIO_VSOCK, SLOT, 1, &saved, sizeof(saved), NULL),
                     0);
    return saved;
}

/* A new device over the same memory, as a restored copy has it. */
static void become_copy(struct guest *guest, const struct state_writer *saved)
{
    struct error err = {0};
    guest_device_destroy(guest);
    guest_device_create(guest);
    if (load(guest, saved, &err) < 0)
        fail_msg("%s", err.message);
}

static bool interrupted(struct guest *guest)
{
    struct pollfd poller = {.fd = virtio_mmio_irq_fd(guest->transport), .events = POLLIN};
    return poll(&poller, 1, 0) == 1;
}

static void take_interrupts(struct guest *guest)
{
    eventfd_t count = 0;
    if (interrupted(guest))
        assert_int_equal(eventfd_read(virtio_mmio_irq_fd(guest->transport), &count), 0);
    guest_set_register(guest, VIRTIO_MMIO_INTERRUPT_ACK, 3);
}

/* The guest finds the event, and until it puts the buffer back no packet comes. */
static void guest_learns(struct guest *guest)
{
    struct packet packet;
    uint32_t id = 99;
    char line[64];
    int fd = host_connect(guest);
    host_write(fd, "CONNECT 52\n", 11);
    /* A packet makes the device work without being answered yet. */
    const struct virtio_vsock_hdr stray = guest_header(VIRTIO_VSOCK_OP_RW, PORT, 12345);
    guest_send(guest, &stray, NULL, 0);
    assert_false(guest_has_packet(guest));
    assert_true(guest_event(guest, &id));
    assert_int_equal(id, VIRTIO_VSOCK_EVENT_TRANSPORT_RESET);
    assert_false(guest_event(guest, &id)); /* one is enough */
    assert_false(guest_has_packet(guest));
    guest_event_done(guest);
    guest_expect(guest, VIRTIO_VSOCK_OP_RST, &packet);
    assert_int_equal(packet.header.src_port, 12345);
    guest_expect(guest, VIRTIO_VSOCK_OP_REQUEST, &packet);
    struct virtio_vsock_hdr answer =
        guest_header(VIRTIO_VSOCK_OP_RESPONSE, PORT, packet.header.src_port);
    guest_send(guest, &answer, NULL, 0);
    host_read_line(fd, line, sizeof(line));
    assert_memory_equal(line, "OK ", 3);
    close(fd);
    guest_expect(guest, VIRTIO_VSOCK_OP_SHUTDOWN, &packet);
    answer = guest_header(VIRTIO_VSOCK_OP_RST, PORT, answer.dst_port);
    guest_send(guest, &answer, NULL, 0);
}

static void check_source(struct guest *guest)
{
    struct state_writer writer;
    uint32_t host = 0;
    int fd = stream_from_host(guest, PORT, ALLOC, &host);
    save(guest, &writer);
    assert_true(host_at_end(fd));
    close(fd);
    take_interrupts(guest);
    kick(guest); /* what a resume does */
    guest_learns(guest);
    state_writer_free(&writer);
}

static void test_source_goes_on(void **state)
{
    check_source(*state);
    check_source(*state); /* and again */
}

static void test_copy(void **state)
{
    struct guest *guest = *state;
    struct state_writer writer;
    uint32_t before = 0, after = 0;
    for (int i = 0; i < 5; i++) {
        close(stream_from_host(guest, PORT, ALLOC, &before));
        guest_expect(guest, VIRTIO_VSOCK_OP_SHUTDOWN, NULL);
    }
    int fd = stream_from_host(guest, PORT, ALLOC, &before);
    save(guest, &writer);
    close(fd);
    assert_int_equal(section(&writer).guest_cid, GUEST_CID);
    assert_int_equal(section(&writer).last_host_port, before);
    assert_int_equal(section(&writer).reset_stage, 2);
    assert_int_equal(section(&writer).event_available, 8);
    become_copy(guest, &writer);
    assert_false(interrupted(guest)); /* nothing acts before the resume */
    kick(guest);
    assert_true(interrupted(guest));
    guest_learns(guest);
    /* Ports of before do not come again. */
    fd = stream_from_host(guest, PORT, ALLOC, &after);
    assert_true(after > before);
    close(fd);
    state_writer_free(&writer);
}

/* Saved, loaded, saved: the same, and a chain of copies that never ran carries the event on. */
static void test_copy_of_copy(void **state)
{
    struct guest *guest = *state;
    struct state_writer first, second;
    save(guest, &first);
    become_copy(guest, &first);
    save(guest, &second);
    assert_int_equal(first.length, second.length);
    assert_memory_equal(first.data, second.data, first.length);
    become_copy(guest, &second);
    kick(guest);
    guest_learns(guest);
    state_writer_free(&first);
    state_writer_free(&second);
}

/* No buffer for the event at the time: it is delivered as soon as there is one. */
static void test_no_event_buffer(void **state)
{
    struct guest *guest = guest_create(true);
    struct state_writer writer;
    uint32_t id = 99;
    guest_init_registers(guest);
    guest_fill_rx(guest, GUEST_QUEUE, sizeof(struct virtio_vsock_hdr) + GUEST_DATA);
    save(guest, &writer);
    assert_int_equal(section(&writer).reset_stage, 1);
    become_copy(guest, &writer);
    kick(guest);
    assert_false(guest_event(guest, &id));
    guest_fill_events(guest, 8);
    /* The device acts in its own thread; its interrupt says when. */
    struct pollfd poller = {.fd = virtio_mmio_irq_fd(guest->transport), .events = POLLIN};
    assert_int_equal(poll(&poller, 1, 30000), 1);
    guest_learns(guest);
    state_writer_free(&writer);
    guest_destroy(guest);
}

/* Before the driver is up there is nothing to tell. */
static void test_inactive(void **state)
{
    struct guest *guest = guest_create(true);
    struct state_writer writer;
    uint32_t host = 0;
    save(guest, &writer);
    assert_int_equal(section(&writer).reset_stage, 0);
    become_copy(guest, &writer);
    kick(guest);
    guest_init_registers(guest);
    guest_fill_rx(guest, GUEST_QUEUE, sizeof(struct virtio_vsock_hdr) + GUEST_DATA);
    guest_fill_events(guest, 8);
    int fd = stream_from_host(guest, PORT, ALLOC, &host);
    close(fd);
    state_writer_free(&writer);
    guest_destroy(guest);
}

/* A driver that starts anew needs no event for what it can't know. */
static void test_reset_forgets(void **state)
{
    struct guest *guest = *state;
    struct state_writer writer;
    uint32_t id = 0, host = 0;
    save(guest, &writer);
    kick(guest);
    guest_init_registers(guest);
    guest_fill_rx(guest, GUEST_QUEUE, sizeof(struct virtio_vsock_hdr) + GUEST_DATA);
    guest_fill_events(guest, 8);
    int fd = stream_from_host(guest, PORT, ALLOC, &host);
    assert_false(guest_event(guest, &id));
    close(fd);
    state_writer_free(&writer);
}

static void test_hostile_state(void **state)
{
    static const struct saved bad[] = {
        {.guest_cid = GUEST_CID + 1, .last_host_port = 1u << 30},
        {.guest_cid = GUEST_CID, .last_host_port = 0},
        {.guest_cid = GUEST_CID, .last_host_port = 1u << 31},
        {.guest_cid = GUEST_CID, .last_host_port = 1u << 30, .reset_stage = 3},
        {.guest_cid = GUEST_CID, .last_host_port = 1u << 30, .reserved = 1},
    };
    struct guest *guest = *state;
    const struct virtio_ops *ops = guest->device->ops;
    for (size_t i = 0; i <= ARRAY_SIZE(bad); i++) {
        struct state_writer writer;
        struct state_reader reader;
        struct error err = {0};
        state_writer_init(&writer);
        if (i < ARRAY_SIZE(bad)) /* the last one has no such section at all */
            state_put(&writer, STATE_VIRTIO_VSOCK, SLOT, 1, &bad[i], sizeof(bad[i]));
        assert_int_equal(state_writer_finish(&writer, &err), 0);
        assert_int_equal(state_reader_open(&reader, writer.data, writer.length, &err), 0);
        pthread_mutex_lock(&guest->lock);
        assert_true(ops->load(guest->device, SLOT, &reader, &err) < 0);
        pthread_mutex_unlock(&guest->lock);
        assert_int_equal(err.code, ERROR_CORRUPT);
        state_writer_free(&writer);
    }
}

static void test_socket_exists(void **state)
{
    struct guest *guest = *state;
    struct error err = {0};
    const struct vsock_config config = {
        .present = true, .guest_cid = GUEST_CID, .uds_path = guest->uds_path};
    pthread_mutex_lock(&guest->lock);
    assert_null(virtio_vsock_create(&config, &guest->memory, guest->loop, &err));
    pthread_mutex_unlock(&guest->lock);
    assert_int_equal(err.errnum, EADDRINUSE);
    assert_int_equal(access(guest->uds_path, F_OK), 0);
}

#define SNAPSHOT_TEST(test) cmocka_unit_test_setup_teardown(test, guest_setup, guest_teardown)
/* clang-format off */ /* its versions differ on braces in macros */
#define PLAIN_TEST(test) {#test " without EVENT_IDX", test, guest_setup_plain, guest_teardown, NULL}
/* clang-format on */

int main(void)
{
    const struct CMUnitTest tests[] = {
        SNAPSHOT_TEST(test_source_goes_on), PLAIN_TEST(test_source_goes_on),
        SNAPSHOT_TEST(test_copy),           PLAIN_TEST(test_copy),
        SNAPSHOT_TEST(test_copy_of_copy),   cmocka_unit_test(test_no_event_buffer),
        cmocka_unit_test(test_inactive),    SNAPSHOT_TEST(test_reset_forgets),
        SNAPSHOT_TEST(test_hostile_state),  SNAPSHOT_TEST(test_socket_exists),
    };
    return cmocka_run_group_tests_name("vsock snapshot", tests, NULL, NULL);
}
