/* SPDX-License-Identifier: Apache-2.0 */
/* Saved state of virtio devices that nobody can have saved: each wrong value is told. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <errno.h>
#include <fcntl.h>
#include <linux/virtio_config.h>
#include <string.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "state_guest.h"
#include "virtio_guest.h"

static void expect_load_fails(struct fixture *f, struct virtio_device *device,
                              const struct state_writer *writer, int errnum, const char *words)
{
    struct error err = {0};

    assert_non_null(device);
    struct virtio_mmio *transport = virtio_mmio_create(device, 0, &err);
    assert_non_null(transport);
    assert_int_equal(load(transport, writer, &err), -errnum);
    if (!strstr(err.message, words))
        fail_msg("expected \"%s\" in: %s", words, err.message);
    virtio_mmio_destroy(transport);
    (void)f;
}

static void another_drive(void **state)
{
    struct fixture *f = *state;
    struct state_writer writer;
    struct error err = {0};

    guest_plug(&f->guest, make_block(f));
    guest_start(&f->guest, 0, 8);
    save(f->guest.transport, &writer);

    f->drive.drive_id = (char *)"data";
    expect_load_fails(f, make_block(f), &writer, EBADMSG, "not of drive data");
    f->drive.drive_id = (char *)"rootfs";
    f->drive.is_read_only = true;
    expect_load_fails(f, make_block(f), &writer, EBADMSG, "not of drive rootfs");
    f->drive.is_read_only = false;
    assert_int_equal(truncate(f->path, (SECTORS - 1) * 512), 0);
    expect_load_fails(f, make_block(f), &writer, EINVAL, "63 sectors, it had 64");
    expect_load_fails(f, make_rng(f), &writer, EBADMSG, "another device type");

    /* One that grew is announced. */
    assert_int_equal(truncate(f->path, 2 * SECTORS * 512), 0);
    struct virtio_mmio *old = f->guest.transport;
    guest_plug(&f->guest, make_block(f));
    assert_int_equal(load(f->guest.transport, &writer, &err), 0);
    assert_int_equal(guest_get(&f->guest, 0x100), 2 * SECTORS);
    assert_int_equal(guest_get(&f->guest, VIRTIO_MMIO_INTERRUPT_STATUS), VIRTIO_MMIO_INT_CONFIG);
    assert_true(guest_interrupted(&f->guest));
    virtio_mmio_destroy(old);
    state_writer_free(&writer);
}

/* ---- hostile values ---- */

static void no_change(struct saved_transport *t)
{
    (void)t;
}

#define CHANGE(name, statement)                 \
    static void name(struct saved_transport *t) \
    {                                           \
        statement;                              \
    }

CHANGE(other_device, t->device_id = 4)
CHANGE(fewer_queues, t->queue_count = 0)
CHANGE(more_queues, t->queue_count = 5)
CHANGE(many_queues, t->queue_count = UINT32_MAX)
CHANGE(status_without_driver, t->status = 9)
CHANGE(status_beyond_byte, t->status = 0x10f)
CHANGE(status_unknown_bit, t->status = 0x1f)
CHANGE(features_not_offered, t->acked_features |= 1ull << 34)
CHANGE(features_without_version, t->acked_features &= ~(1ull << 32))
CHANGE(interrupt_unknown, t->interrupt_status = 4)
CHANGE(ready_two, t->queues[0].ready = 2)
CHANGE(broken_two, t->queues[0].broken = 2)
CHANGE(event_index_two, t->queues[0].event_index = 2)
CHANGE(signalled_two, t->queues[0].signalled_valid = 2)
CHANGE(reserved_set, t->queues[0].reserved = 1)
CHANGE(event_index_not_accepted, t->queues[0].event_index ^= 1)
CHANGE(ready_without_features, t->status = 3)
CHANGE(size_zero, t->queues[0].size = 0)
CHANGE(size_odd, t->queues[0].size = 3)
CHANGE(size_large, t->queues[0].size = 512)
CHANGE(descriptors_unaligned, t->queues[0].descriptors += 8)
CHANGE(descriptors_outside, t->queues[0].descriptors = 8u << 20)
CHANGE(descriptors_overflow, t->queues[0].descriptors = UINT64_MAX - 15)
CHANGE(driver_odd, t->queues[0].driver |= 1)
CHANGE(driver_in_gap, t->queues[0].driver = 0xC0000000)
CHANGE(device_unaligned, t->queues[0].device |= 2)
CHANGE(device_overflow, t->queues[0].device = UINT64_MAX - 3)
CHANGE(a_queue_too_many, t->queues[1].next_used = 1)
CHANGE(another_queue_too_many, t->queues[4].ready = 1)

CHANGE(odd_position, t->queues[0].next_available = 0x8001)
CHANGE(odd_used, t->queues[0].next_used = 0xffff)
CHANGE(odd_signalled, t->queues[0].signalled_used = 0x1234)
CHANGE(selectors, t->queue_select = t->device_features_select = t->driver_features_select = ~0u)
CHANGE(generation, t->config_generation = ~0u)
CHANGE(not_started, t->status = 0; t->queues[0].ready = 0; t->acked_features = ~0ull)
CHANGE(failed, t->status |= 0x80)
CHANGE(stopped_queue_anywhere, t->queues[0].ready = 0; t->queues[0].descriptors = ~0ull)

static const struct {
    const char *name;
    void (*change)(struct saved_transport *saved);
    bool accepted;
} changes[] = {
    {"no change", no_change, true},
    {"other_device", other_device, false},
    {"fewer_queues", fewer_queues, false},
    {"more_queues", more_queues, false},
    {"many_queues", many_queues, false},
    {"status_without_driver", status_without_driver, false},
    {"status_beyond_byte", status_beyond_byte, false},
    {"status_unknown_bit", status_unknown_bit, false},
    {"features_not_offered", features_not_offered, false},
    {"features_without_version", features_without_version, false},
    {"interrupt_unknown", interrupt_unknown, false},
    {"ready_two", ready_two, false},
    {"broken_two", broken_two, false},
    {"event_index_two", event_index_two, false},
    {"signalled_two", signalled_two, false},
    {"reserved_set", reserved_set, false},
    {"event_index_not_accepted", event_index_not_accepted, false},
    {"ready_without_features", ready_without_features, false},
    {"size_zero", size_zero, false},
    {"size_odd", size_odd, false},
    {"size_large", size_large, false},
    {"descriptors_unaligned", descriptors_unaligned, false},
    {"descriptors_outside", descriptors_outside, false},
    {"descriptors_overflow", descriptors_overflow, false},
    {"driver_odd", driver_odd, false},
    {"driver_in_gap", driver_in_gap, false},
    {"device_unaligned", device_unaligned, false},
    {"device_overflow", device_overflow, false},
    {"a_queue_too_many", a_queue_too_many, false},
    {"another_queue_too_many", another_queue_too_many, false},
    {"odd_position", odd_position, true},
    {"odd_used", odd_used, true},
    {"odd_signalled", odd_signalled, true},
    {"selectors", selectors, true},
    {"generation", generation, true},
    {"not_started", not_started, true},
    {"failed", failed, true},
    {"stopped_queue_anywhere", stopped_queue_anywhere, true},
};

/* Copies a state with its transport section changed. */
static void change_state(const struct state_writer *from, void (*change)(struct saved_transport *),
                         struct state_writer *to)
{
    struct state_reader reader;
    struct state_section section;
    struct saved_transport saved;
    struct error err = {0};

    assert_int_equal(state_reader_open(&reader, from->data, from->length, &err), 0);
    assert_int_equal(state_get(&reader, STATE_VIRTIO_MMIO, 0, 1, &saved, sizeof(saved), &err), 0);
    change(&saved);
    state_writer_init(to);
    state_put(to, STATE_VIRTIO_MMIO, 0, 1, &saved, sizeof(saved));
    assert_int_equal(state_find(&reader, STATE_VIRTIO_BLOCK, 0, &section), 1);
    state_put(to, STATE_VIRTIO_BLOCK, 0, section.version, section.payload, section.length);
    assert_int_equal(state_writer_finish(to, &err), 0);
}

static void hostile_values(void **state)
{
    struct fixture *f = *state;
    struct state_writer writer, changed;
    uint64_t status;

    guest_plug(&f->guest, make_block(f));
    guest_start(&f->guest, guest_offered_features(&f->guest), 8);
    add_read(f, 0, &status);
    guest_notify(&f->guest, 0);
    add_read(f, 0, &status);
    save(f->guest.transport, &writer);
    for (size_t i = 0; i < ARRAY_SIZE(changes); i++) {
        struct error err = {0};
        struct virtio_mmio *transport = virtio_mmio_create(make_block(f), 0, &err);
        assert_non_null(transport);
        change_state(&writer, changes[i].change, &changed);
        int r = load(transport, &changed, &err);
        if ((r == 0) != changes[i].accepted)
            fail_msg("%s: %d %s", changes[i].name, r, err.message);
        if (r < 0)
            assert_int_equal(err.code, ERROR_CORRUPT);
        else
            virtio_mmio_kick(transport); /* whatever the positions say, nothing crashes */
        virtio_mmio_destroy(transport);
        state_writer_free(&changed);
    }
    state_writer_free(&writer);
}

/* A position that can't be is found at the first look, and breaks the queue. */
static void a_position_that_can_not_be(void **state)
{
    struct fixture *f = *state;
    struct state_writer writer, changed;
    struct error err = {0};
    uint64_t status;

    guest_plug(&f->guest, make_block(f));
    guest_start(&f->guest, 0, 8);
    add_read(f, 0, &status);
    save(f->guest.transport, &writer);
    change_state(&writer, odd_position, &changed);
    struct virtio_mmio *transport = virtio_mmio_create(make_block(f), 0, &err);
    assert_non_null(transport);
    assert_int_equal(load(transport, &changed, &err), 0);
    virtio_mmio_kick(transport);
    assert_int_equal(virtio_mmio_device(transport)->status, 15 | VIRTIO_CONFIG_S_NEEDS_RESET);
    virtio_mmio_destroy(transport);
    state_writer_free(&writer);
    state_writer_free(&changed);
}

static void missing_and_foreign_sections(void **state)
{
    struct fixture *f = *state;
    struct state_writer writer;
    struct error err = {0};
    struct saved_transport saved = {.device_id = 5, .queue_count = 5};
    struct {
        uint32_t target, actual;
    } balloon = {8 * 256 + 1, 0};

    state_writer_init(&writer);
    assert_int_equal(state_writer_finish(&writer, &err), 0);
    expect_load_fails(f, make_balloon(f), &writer, EBADMSG, "");
    state_writer_free(&writer);

    state_writer_init(&writer); /* the device's own section is not there */
    state_put(&writer, STATE_VIRTIO_MMIO, 0, 1, &saved, sizeof(saved));
    assert_int_equal(state_writer_finish(&writer, &err), 0);
    expect_load_fails(f, make_balloon(f), &writer, EBADMSG, "");
    state_writer_free(&writer);

    state_writer_init(&writer);
    state_put(&writer, STATE_VIRTIO_MMIO, 0, 1, &saved, sizeof(saved));
    state_put(&writer, STATE_VIRTIO_BALLOON, 0, 1, &balloon, sizeof(balloon));
    assert_int_equal(state_writer_finish(&writer, &err), 0);
    expect_load_fails(f, make_balloon(f), &writer, EBADMSG, "larger than guest memory");
    state_writer_free(&writer);

    state_writer_init(&writer);
    state_put(&writer, STATE_VIRTIO_MMIO, 0, 2, &saved, sizeof(saved));
    assert_int_equal(state_writer_finish(&writer, &err), 0);
    expect_load_fails(f, make_balloon(f), &writer, EBADMSG, "");
    state_writer_free(&writer);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        STATE_TEST(another_drive),
        STATE_TEST(hostile_values),
        STATE_TEST(a_position_that_can_not_be),
        STATE_TEST(missing_and_foreign_sections),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
