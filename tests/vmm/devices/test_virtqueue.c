/* SPDX-License-Identifier: Apache-2.0 */
/* The split queue alone: order, wrap-around, events, and everything a hostile driver can write. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <errno.h>
#include <linux/virtio_ring.h>
#include <string.h>

#include "base/cleanup.h"
#include "vmm/devices/virtqueue.h"

#define MEMORY_BYTES (2u << 20)
#define DESCRIPTORS  0x10000u
#define AVAILABLE    0x20000u
#define USED         0x30000u
#define DATA         0x40000u
#define SIZE         8ull
#define NEXT         VRING_DESC_F_NEXT
#define WRITE        VRING_DESC_F_WRITE

struct fixture {
    struct guest_memory memory;
    struct virtqueue queue;
    struct virtqueue_chain chain;
    uint16_t available_index;
};

static int setup(void **state)
{
    static struct fixture fixture;
    struct error err = {0};

    memset(&fixture, 0, sizeof(fixture));
    assert_int_equal(guest_memory_create(&fixture.memory, MEMORY_BYTES, &err), 0);
    fixture.queue = (struct virtqueue){.memory = &fixture.memory,
                                       .size = SIZE,
                                       .ready = true,
                                       .descriptors = DESCRIPTORS,
                                       .driver = AVAILABLE,
                                       .device = USED};
    *state = &fixture;
    return 0;
}

static int teardown(void **state)
{
    struct fixture *f = *state;

    guest_memory_release(&f->memory);
    return 0;
}

static void put16(struct fixture *f, uint64_t gpa, uint16_t value)
{
    assert_int_equal(guest_write(&f->memory, gpa, &value, sizeof(value)), 0);
}

static uint16_t get16(struct fixture *f, uint64_t gpa)
{
    uint16_t value;

    assert_int_equal(guest_read(&f->memory, gpa, &value, sizeof(value)), 0);
    return value;
}

static void descriptor(struct fixture *f, uint16_t index, uint64_t gpa, uint32_t length,
                       uint16_t flags, uint16_t next)
{
    struct vring_desc value = {.addr = gpa, .len = length, .flags = flags, .next = next};

    assert_int_equal(guest_write(&f->memory, DESCRIPTORS + 16u * index, &value, sizeof(value)), 0);
}

static void publish(struct fixture *f, uint16_t head)
{
    put16(f, AVAILABLE + 4 + 2u * (f->available_index % SIZE), head);
    f->available_index++;
    put16(f, AVAILABLE + 2, f->available_index);
}

static void used_event(struct fixture *f, uint16_t value)
{
    put16(f, AVAILABLE + 4 + 2 * SIZE, value);
}

static uint16_t available_event(struct fixture *f)
{
    return get16(f, USED + 4 + 8 * SIZE);
}

/* Starts both sides at `position`, as after that many requests. */
static void start_at(struct fixture *f, uint16_t position)
{
    f->queue.next_available = f->queue.next_used = f->queue.signalled_used = position;
    f->available_index = position;
    put16(f, AVAILABLE + 2, position);
    put16(f, USED + 2, position);
}

/* ---- validity ---- */

static void valid_sizes_and_addresses(void **state)
{
    struct fixture *f = *state;
    static const struct {
        uint64_t size, descriptors, driver, device;
        bool valid;
    } cases[] = {
        {8, DESCRIPTORS, AVAILABLE, USED, true},
        {1, DESCRIPTORS, AVAILABLE, USED, true},
        {256, DESCRIPTORS, AVAILABLE, USED, true},
        {0, DESCRIPTORS, AVAILABLE, USED, false},
        {3, DESCRIPTORS, AVAILABLE, USED, false},
        {255, DESCRIPTORS, AVAILABLE, USED, false},
        {512, DESCRIPTORS, AVAILABLE, USED, false},
        {32768, DESCRIPTORS, AVAILABLE, USED, false},
        {8, DESCRIPTORS + 8, AVAILABLE, USED, false},
        {8, DESCRIPTORS, AVAILABLE + 1, USED, false},
        {8, DESCRIPTORS, AVAILABLE, USED + 2, false},
        {8, MEMORY_BYTES - 16 * 8, AVAILABLE, USED, true},
        {8, MEMORY_BYTES - 16 * 8 + 16, AVAILABLE, USED, false},
        {8, DESCRIPTORS, MEMORY_BYTES - 22, USED, true},
        {8, DESCRIPTORS, MEMORY_BYTES - 20, USED, false},
        {8, DESCRIPTORS, AVAILABLE, MEMORY_BYTES - 72, true},
        {8, DESCRIPTORS, AVAILABLE, MEMORY_BYTES - 68, false},
        {8, 0xC0000000, AVAILABLE, USED, false},
        {8, UINT64_MAX - 15, AVAILABLE, USED, false},
        {8, DESCRIPTORS, UINT64_MAX - 1, USED, false},
        {8, DESCRIPTORS, AVAILABLE, UINT64_MAX - 3, false},
    };

    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        struct virtqueue queue = {.memory = &f->memory,
                                  .size = (uint16_t)cases[i].size,
                                  .descriptors = cases[i].descriptors,
                                  .driver = cases[i].driver,
                                  .device = cases[i].device};
        if (virtqueue_valid(&queue) != cases[i].valid)
            fail_msg("case %zu: expected %d", i, cases[i].valid);
    }
}

/* ---- requests ---- */

static void pop_and_push(void **state)
{
    struct fixture *f = *state;

    assert_int_equal(virtqueue_pop(&f->queue, &f->chain), 0);
    descriptor(f, 5, DATA, 16, NEXT, 2);
    descriptor(f, 2, DATA + 100, 7, NEXT | WRITE, 7);
    descriptor(f, 7, DATA + 200, 9, WRITE, 0);
    publish(f, 5);
    assert_int_equal(virtqueue_pop(&f->queue, &f->chain), 1);
    assert_int_equal(f->chain.head, 5);
    assert_int_equal(f->chain.readable_count, 1);
    assert_int_equal(f->chain.writable_count, 2);
    assert_int_equal(f->chain.readable_bytes, 16);
    assert_int_equal(f->chain.writable_bytes, 16);
    assert_ptr_equal(f->chain.writable[1].iov_base, guest_pointer(&f->memory, DATA + 200, 9));
    assert_int_equal(virtqueue_pop(&f->queue, &f->chain), 0);

    virtqueue_push(&f->queue, 5, 11);
    assert_int_equal(get16(f, USED + 2), 1);
    struct vring_used_elem element;
    assert_int_equal(guest_read(&f->memory, USED + 4, &element, sizeof(element)), 0);
    assert_int_equal(element.id, 5);
    assert_int_equal(element.len, 11);
    assert_false(f->queue.broken);
}

static void undo_pop_returns_it_again(void **state)
{
    struct fixture *f = *state;

    descriptor(f, 3, DATA, 16, 0, 0);
    publish(f, 3);
    for (unsigned i = 0; i < 3; i++) {
        assert_int_equal(virtqueue_pop(&f->queue, &f->chain), 1);
        assert_int_equal(f->chain.head, 3);
        virtqueue_undo_pop(&f->queue);
    }
    assert_int_equal(virtqueue_pop(&f->queue, &f->chain), 1);
    assert_int_equal(virtqueue_pop(&f->queue, &f->chain), 0);
}

static void positions_wrap(void **state)
{
    struct fixture *f = *state;

    start_at(f, 0xfff0);
    for (unsigned i = 0; i < 40; i++) {
        uint16_t head = (uint16_t)(i % SIZE);
        descriptor(f, head, DATA + i, 1, 0, 0);
        publish(f, head);
        assert_int_equal(virtqueue_pop(&f->queue, &f->chain), 1);
        assert_int_equal(f->chain.head, head);
        virtqueue_push(&f->queue, head, i);
    }
    assert_int_equal(f->queue.next_used, (uint16_t)(0xfff0 + 40));
    assert_int_equal(get16(f, USED + 2), (uint16_t)(0xfff0 + 40));
    assert_int_equal(virtqueue_pop(&f->queue, &f->chain), 0);
}

static void a_full_ring_of_the_longest_chain(void **state)
{
    struct fixture *f = *state;

    for (uint16_t i = 0; i < SIZE; i++)
        descriptor(f, i, DATA + 4096u * i, 4096, i + 1u < SIZE ? NEXT : 0, (uint16_t)(i + 1));
    for (uint16_t i = 0; i < SIZE; i++)
        publish(f, i);
    for (uint16_t i = 0; i < SIZE; i++) {
        assert_int_equal(virtqueue_pop(&f->queue, &f->chain), 1);
        assert_int_equal(f->chain.readable_count, SIZE - i);
    }
    assert_int_equal(virtqueue_pop(&f->queue, &f->chain), 0);
}

static void a_queue_that_is_not_ready_is_quiet(void **state)
{
    struct fixture *f = *state;

    descriptor(f, 0, DATA, 1, 0, 0);
    publish(f, 0);
    f->queue.ready = false;
    assert_int_equal(virtqueue_pop(&f->queue, &f->chain), 0);
    virtqueue_push(&f->queue, 0, 0);
    virtqueue_enable_notification(&f->queue, false);
    assert_int_equal(get16(f, USED), 0);
    assert_int_equal(get16(f, USED + 2), 0);
    assert_false(virtqueue_should_signal(&f->queue));
}

static void copies_across_buffers(void **state)
{
    struct fixture *f = *state;
    char text[64] = {0};

    assert_int_equal(guest_write(&f->memory, DATA, "abcde", 5), 0);
    assert_int_equal(guest_write(&f->memory, DATA + 100, "fghij", 5), 0);
    descriptor(f, 0, DATA, 5, NEXT, 1);
    descriptor(f, 1, DATA + 100, 5, NEXT, 2);
    descriptor(f, 2, DATA + 200, 3, NEXT | WRITE, 3);
    descriptor(f, 3, DATA + 300, 3, WRITE, 0);
    publish(f, 0);
    assert_int_equal(virtqueue_pop(&f->queue, &f->chain), 1);

    assert_int_equal(virtqueue_read(&f->chain, 0, text, sizeof(text)), 10);
    assert_string_equal(text, "abcdefghij");
    memset(text, 0, sizeof(text));
    assert_int_equal(virtqueue_read(&f->chain, 3, text, 4), 4);
    assert_string_equal(text, "defg");
    assert_int_equal(virtqueue_read(&f->chain, 5, text, 1), 1);
    assert_int_equal(text[0], 'f');
    assert_int_equal(virtqueue_read(&f->chain, 10, text, 1), 0);
    assert_int_equal(virtqueue_read(&f->chain, UINT64_MAX, text, 1), 0);

    assert_int_equal(virtqueue_write(&f->chain, 2, "XYZW123", 7), 4);
    assert_memory_equal(guest_pointer(&f->memory, DATA + 202, 1), "X", 1);
    assert_memory_equal(guest_pointer(&f->memory, DATA + 300, 3), "YZW", 3);
    assert_memory_equal(guest_pointer(&f->memory, DATA + 303, 1), "\0", 1);
}

/* ---- events ---- */

static void interrupt_flag(void **state)
{
    struct fixture *f = *state;

    assert_false(virtqueue_should_signal(&f->queue));
    virtqueue_push(&f->queue, 0, 0);
    assert_true(virtqueue_should_signal(&f->queue));
    assert_false(virtqueue_should_signal(&f->queue));
    put16(f, AVAILABLE, VRING_AVAIL_F_NO_INTERRUPT);
    virtqueue_push(&f->queue, 0, 0);
    assert_false(virtqueue_should_signal(&f->queue));
}

static void notification_flag(void **state)
{
    struct fixture *f = *state;

    virtqueue_enable_notification(&f->queue, false);
    assert_int_equal(get16(f, USED), VRING_USED_F_NO_NOTIFY);
    virtqueue_enable_notification(&f->queue, true);
    assert_int_equal(get16(f, USED), 0);
}

static void used_event_is_passed_once(void **state)
{
    struct fixture *f = *state;
    static const uint16_t starts[] = {0, 1, 0x7fff, 0x8000, 0xfffd, 0xffff};

    f->queue.event_index = true;
    for (size_t s = 0; s < ARRAY_SIZE(starts); s++) {
        start_at(f, starts[s]);
        f->queue.signalled_valid = true;
        /* The driver wants to hear when the entry three further on is used. */
        used_event(f, (uint16_t)(starts[s] + 3));
        for (unsigned i = 0; i < 6; i++) {
            virtqueue_push(&f->queue, 0, 0);
            assert_int_equal(virtqueue_should_signal(&f->queue), i == 3);
        }
        /* Several at once, the event somewhere among them. */
        used_event(f, (uint16_t)(f->queue.next_used + 1));
        for (unsigned i = 0; i < 4; i++)
            virtqueue_push(&f->queue, 0, 0);
        assert_true(virtqueue_should_signal(&f->queue));
        assert_false(virtqueue_should_signal(&f->queue));
    }
}

static void first_push_signals_whatever_the_event(void **state)
{
    struct fixture *f = *state;

    f->queue.event_index = true;
    used_event(f, 0x1234);
    virtqueue_push(&f->queue, 0, 0);
    assert_true(virtqueue_should_signal(&f->queue));
    virtqueue_push(&f->queue, 0, 0);
    assert_false(virtqueue_should_signal(&f->queue));
}

static void available_event_follows_the_position(void **state)
{
    struct fixture *f = *state;

    f->queue.event_index = true;
    start_at(f, 0xffff);
    virtqueue_enable_notification(&f->queue, true);
    assert_int_equal(available_event(f), 0xffff);
    descriptor(f, 0, DATA, 1, 0, 0);
    publish(f, 0);
    assert_int_equal(virtqueue_pop(&f->queue, &f->chain), 1);
    virtqueue_enable_notification(&f->queue, false);
    assert_int_equal(available_event(f), 0xffff);
    assert_int_equal(get16(f, USED), 0);
    virtqueue_enable_notification(&f->queue, true);
    assert_int_equal(available_event(f), 0);
}

/* ---- hostile drivers ---- */

struct link {
    uint64_t gpa;
    uint32_t length;
    uint16_t flags, next;
};

static const struct {
    const char *what;
    uint16_t head;
    struct link links[4];
} hostile[] = {
    {"head out of range", SIZE, {{DATA, 1, 0, 0}}},
    {"head far out of range", 0xffff, {{DATA, 1, 0, 0}}},
    {"next out of range", 0, {{DATA, 1, NEXT, SIZE}}},
    {"next far out of range", 0, {{DATA, 1, NEXT, 0xffff}}},
    {"a loop of one", 0, {{DATA, 1, NEXT, 0}}},
    {"a loop of two", 0, {{DATA, 1, NEXT, 1}, {DATA, 1, NEXT, 0}}},
    {"a loop of three writable ones",
     0,
     {{DATA, 1, NEXT | WRITE, 1}, {DATA, 1, NEXT | WRITE, 2}, {DATA, 1, NEXT | WRITE, 0}}},
    {"zero length", 0, {{DATA, 0, 0, 0}}},
    {"zero length at the end", 0, {{DATA, 1, NEXT, 1}, {DATA, 0, WRITE, 0}}},
    {"readable after writable", 0, {{DATA, 1, NEXT | WRITE, 1}, {DATA, 1, 0, 0}}},
    {"indirect", 0, {{DATA, 16, VRING_DESC_F_INDIRECT, 0}}},
    {"indirect at the end", 0, {{DATA, 1, NEXT, 1}, {DATA, 16, VRING_DESC_F_INDIRECT, 0}}},
    {"one byte past the end", 0, {{MEMORY_BYTES - 15, 16, 0, 0}}},
    {"behind the end", 0, {{MEMORY_BYTES, 1, 0, 0}}},
    {"in the hole", 0, {{0xC0000000, 1, 0, 0}}},
    {"sum overflows", 0, {{UINT64_MAX - 7, 16, 0, 0}}},
    {"sum overflows to a good address", 0, {{UINT64_MAX, 0x40000, 0, 0}}},
    {"the longest length", 0, {{0, UINT32_MAX, 0, 0}}},
};

static void hostile_chains_break_the_queue(void **state)
{
    struct fixture *f = *state;

    for (size_t i = 0; i < ARRAY_SIZE(hostile); i++) {
        memset(guest_pointer(&f->memory, DESCRIPTORS, 16 * SIZE), 0, 16 * SIZE);
        f->queue.broken = false;
        start_at(f, 0);
        for (unsigned d = 0; d < ARRAY_SIZE(hostile[i].links); d++) {
            const struct link *link = &hostile[i].links[d];
            descriptor(f, (uint16_t)d, link->gpa, link->length, link->flags, link->next);
        }
        descriptor(f, SIZE, DATA, 1, 0, 0); /* a good one, but behind the table */
        publish(f, hostile[i].head);
        if (virtqueue_pop(&f->queue, &f->chain) != -EPROTO || !f->queue.broken)
            fail_msg("\"%s\" did not break the queue", hostile[i].what);
        /* Broken stays broken, and the rings are left alone. */
        assert_int_equal(virtqueue_pop(&f->queue, &f->chain), -EPROTO);
        virtqueue_push(&f->queue, 0, 0);
        virtqueue_enable_notification(&f->queue, false);
        assert_false(virtqueue_should_signal(&f->queue));
        assert_int_equal(get16(f, USED + 2), 0);
        assert_int_equal(get16(f, USED), 0);
    }
}

/* More than 4 GiB in total, though each buffer lies in memory: the same GiB again and again. */
static void total_length_overflow(void **state)
{
    struct fixture *f = *state;
    struct guest_memory large = {0};
    struct error err = {0};

    assert_int_equal(guest_memory_create(&large, 1ull << 30, &err), 0);
    f->queue.memory = &large;
    for (uint16_t i = 0; i < 5; i++) {
        struct vring_desc value = {
            .addr = 0, .len = 1u << 30, .flags = i < 4 ? NEXT : 0, .next = (uint16_t)(i + 1)};
        assert_int_equal(guest_write(&large, DESCRIPTORS + 16u * i, &value, sizeof(value)), 0);
    }
    uint16_t one = 1;
    assert_int_equal(guest_write(&large, AVAILABLE + 2, &one, sizeof(one)), 0);
    assert_int_equal(virtqueue_pop(&f->queue, &f->chain), -EPROTO);
    f->queue.memory = &f->memory;
    guest_memory_release(&large);
}

/* As many links as the buffers of a chain have room for, and one more. */
static void a_loop_in_the_largest_queue(void **state)
{
    struct fixture *f = *state;
    uint16_t one = 1;

    f->queue.size = VIRTQUEUE_MAX_SIZE;
    for (uint16_t i = 0; i < VIRTQUEUE_MAX_SIZE; i++)
        descriptor(f, i, DATA, 1, NEXT | WRITE, (uint16_t)((i + 1) % VIRTQUEUE_MAX_SIZE));
    assert_int_equal(guest_write(&f->memory, AVAILABLE + 2, &one, sizeof(one)), 0);
    assert_int_equal(virtqueue_pop(&f->queue, &f->chain), -EPROTO);
    assert_int_equal(f->chain.writable_count, VIRTQUEUE_MAX_SIZE);
}

static void too_many_pending(void **state)
{
    struct fixture *f = *state;

    descriptor(f, 0, DATA, 1, 0, 0);
    put16(f, AVAILABLE + 2, SIZE);
    assert_int_equal(virtqueue_pop(&f->queue, &f->chain), 1);
    virtqueue_undo_pop(&f->queue);
    put16(f, AVAILABLE + 2, SIZE + 1);
    assert_int_equal(virtqueue_pop(&f->queue, &f->chain), -EPROTO);

    f->queue.broken = false;
    put16(f, AVAILABLE + 2, 0xffff); /* the index went backwards */
    assert_int_equal(virtqueue_pop(&f->queue, &f->chain), -EPROTO);
}

/* Rings that left guest memory after they were checked (a bug elsewhere) break, not crash. */
static void rings_outside_memory(void **state)
{
    struct fixture *f = *state;

    f->queue.driver = MEMORY_BYTES;
    assert_int_equal(virtqueue_pop(&f->queue, &f->chain), -EPROTO);
    f->queue.broken = false;
    f->queue.driver = AVAILABLE;
    f->queue.device = UINT64_MAX - 3;
    virtqueue_push(&f->queue, 0, 0);
    assert_true(f->queue.broken);
    f->queue.broken = false;
    f->queue.device = USED;
    f->queue.descriptors = MEMORY_BYTES;
    publish(f, 0);
    assert_int_equal(virtqueue_pop(&f->queue, &f->chain), -EPROTO);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(valid_sizes_and_addresses),
        TEST(pop_and_push),
        TEST(undo_pop_returns_it_again),
        TEST(positions_wrap),
        TEST(a_full_ring_of_the_longest_chain),
        TEST(a_queue_that_is_not_ready_is_quiet),
        TEST(copies_across_buffers),
        TEST(interrupt_flag),
        TEST(notification_flag),
        TEST(used_event_is_passed_once),
        TEST(first_push_signals_whatever_the_event),
        TEST(available_event_follows_the_position),
        TEST(hostile_chains_break_the_queue),
        TEST(total_length_overflow),
        TEST(a_loop_in_the_largest_queue),
        TEST(too_many_pending),
        TEST(rings_outside_memory),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
