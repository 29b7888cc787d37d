/* SPDX-License-Identifier: Apache-2.0 */
/* The entropy device: buffers are filled, bounded, and nothing else is touched. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <linux/virtio_ids.h>
#include <string.h>

#include "base/cleanup.h"
#include "virtio_guest.h"

#define REQUEST_LIMIT (64u << 10)

static int setup(void **state)
{
    static struct guest guest;
    struct error err = {0};

    guest_create(&guest, 8);
    guest_plug(&guest, virtio_rng_create(&guest.memory, guest.loop, &err));
    guest_start(&guest, guest_offered_features(&guest), 64);
    *state = &guest;
    return 0;
}

static int teardown(void **state)
{
    guest_destroy(*state);
    return 0;
}

/* Sends one request; returns the used length. */
static uint32_t request(struct guest *g, const struct guest_buffer *buffers, unsigned count)
{
    uint16_t head;
    uint32_t length;

    guest_add(g, 0, buffers, count);
    guest_notify(g, 0);
    assert_true(guest_take_used(g, 0, &head, &length));
    return length;
}

static bool all_zero(const struct guest *g, uint64_t gpa, uint64_t length)
{
    const uint8_t *bytes = guest_at(g, gpa, length);

    for (uint64_t i = 0; i < length; i++) {
        if (bytes[i] != 0)
            return false;
    }
    return true;
}

static void identity(void **state)
{
    struct guest *g = *state;

    assert_int_equal(guest_get(g, VIRTIO_MMIO_DEVICE_ID), VIRTIO_ID_RNG);
    assert_int_equal(guest_offered_features(g), 1ull << 32 | 1ull << 29);
    for (uint64_t offset = 0x100; offset < 0x140; offset += 4)
        assert_int_equal(guest_get(g, offset), 0);
    guest_set(g, 0x100, 1); /* there is no configuration to write */
}

static void buffers_are_filled(void **state)
{
    struct guest *g = *state;
    uint64_t gpa = guest_allocate(g, 4096, 4096);
    struct guest_buffer buffers[] = {{gpa + 64, 64, true}, {gpa + 256, 1024, true}};
    uint8_t first[64];

    assert_int_equal(request(g, buffers, 2), 64 + 1024);
    assert_true(guest_interrupted(g));
    assert_true(all_zero(g, gpa, 64));
    assert_false(all_zero(g, gpa + 64, 64));
    assert_true(all_zero(g, gpa + 128, 128));
    for (uint64_t at = 0; at < 1024; at += 64)
        assert_false(all_zero(g, gpa + 256 + at, 64));
    assert_true(all_zero(g, gpa + 1280, 4096 - 1280));
    memcpy(first, guest_at(g, gpa + 64, 64), 64);
    assert_int_equal(request(g, buffers, 1), 64);
    assert_memory_not_equal(first, guest_at(g, gpa + 64, 64), 64);
}

static void long_requests_are_bounded(void **state)
{
    struct guest *g = *state;
    uint64_t gpa = guest_allocate(g, 1u << 20, 4096);
    struct guest_buffer one = {gpa, 1u << 20, true};
    struct guest_buffer two[] = {{gpa, REQUEST_LIMIT - 1, true}, {gpa + (1u << 19), 100, true}};

    assert_int_equal(request(g, &one, 1), REQUEST_LIMIT);
    assert_false(all_zero(g, gpa + REQUEST_LIMIT - 64, 64));
    assert_true(all_zero(g, gpa + REQUEST_LIMIT, (1u << 20) - REQUEST_LIMIT));
    assert_int_equal(request(g, two, 2), REQUEST_LIMIT);
    assert_true(all_zero(g, gpa + (1u << 19) + 1, 100));
}

static void nothing_to_write_into(void **state)
{
    struct guest *g = *state;
    uint64_t gpa = guest_allocate(g, 64, 64);
    struct guest_buffer readable = {gpa, 64, false};

    assert_int_equal(request(g, &readable, 1), 0);
    assert_true(all_zero(g, gpa, 64));
}

static void many_requests(void **state)
{
    struct guest *g = *state;
    uint64_t gpa = guest_allocate(g, 4096, 64);
    uint16_t head;
    uint32_t length;

    for (unsigned i = 0; i < 64; i++) {
        struct guest_buffer buffer = {gpa + 64ull * i, 64, true};
        guest_add(g, 0, &buffer, 1);
    }
    guest_notify(g, 0);
    for (unsigned i = 0; i < 64; i++) {
        assert_true(guest_take_used(g, 0, &head, &length));
        assert_int_equal(length, 64);
        assert_false(all_zero(g, gpa + 64ull * i, 64));
    }
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(identity),
        TEST(buffers_are_filled),
        TEST(long_requests_are_bounded),
        TEST(nothing_to_write_into),
        TEST(many_requests),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
