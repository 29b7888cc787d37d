/* SPDX-License-Identifier: Apache-2.0 */
/* virtio_serve_queue() against a driver that adds a request at the worst moment: after the device
 * found the queue empty and asked for notifications, before it looked once more. The linker puts
 * the driver in front of virtqueue_pop(). */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <string.h>

#include "base/cleanup.h"
#include "vmm/devices/virtio.h"

#define MEMORY_BYTES (1u << 20)
#define DESCRIPTORS  0x1000u
#define AVAILABLE    0x2000u
#define USED         0x3000u
#define SIZE         8u

struct fixture {
    struct virtio_device device;
    struct guest_memory memory;
    unsigned late;    /* requests still to be added, each right after the queue was found empty */
    bool found_empty; /* by the last look */
    uint16_t added;
    unsigned served;
};

static struct fixture *the_fixture; /* virtqueue_pop() has no place for a context */

int __real_virtqueue_pop(struct virtqueue *queue, struct virtqueue_chain *chain);
int __wrap_virtqueue_pop(struct virtqueue *queue, struct virtqueue_chain *chain);

static void add(struct fixture *f)
{
    uint16_t head = 0;

    assert_int_equal(guest_write(&f->memory, AVAILABLE + 4 + 2u * (f->added % SIZE), &head, 2), 0);
    f->added++;
    assert_int_equal(guest_write(&f->memory, AVAILABLE + 2, &f->added, 2), 0);
}

int __wrap_virtqueue_pop(struct virtqueue *queue, struct virtqueue_chain *chain)
{
    struct fixture *f = the_fixture;

    if (f->found_empty && f->late > 0) {
        f->late--;
        add(f);
    }
    int got = __real_virtqueue_pop(queue, chain);
    f->found_empty = got == 0;
    return got;
}

static int64_t serve(struct virtio_device *device, const struct virtqueue_chain *chain)
{
    (void)chain;
    CONTAINER_OF(device, struct fixture, device)->served++;
    return 0;
}

static void set_up(struct fixture *f, bool event_index)
{
    static const struct virtio_ops ops = {.name = "late", .queue_count = 1};
    uint8_t descriptor[16] = {[0] = 0x40, [8] = 1}; /* one readable byte */
    struct error err = {0};

    *f = (struct fixture){0};
    assert_int_equal(guest_memory_create(&f->memory, MEMORY_BYTES, &err), 0);
    assert_int_equal(guest_write(&f->memory, DESCRIPTORS, descriptor, sizeof(descriptor)), 0);
    virtio_device_init(&f->device, &ops, &f->memory, NULL);
    f->device.queues[0] = (struct virtqueue){.memory = &f->memory,
                                             .size = SIZE,
                                             .ready = true,
                                             .event_index = event_index,
                                             .descriptors = DESCRIPTORS,
                                             .driver = AVAILABLE,
                                             .device = USED};
    the_fixture = f;
}

static uint16_t get16(struct fixture *f, uint64_t gpa)
{
    uint16_t value;

    assert_int_equal(guest_read(&f->memory, gpa, &value, sizeof(value)), 0);
    return value;
}

/* However many come late, all are served and the driver is told to notify for the very next. */
static void late_requests_with_event_index(void **state)
{
    struct fixture f;

    (void)state;
    for (unsigned late = 0; late < 5; late++) {
        set_up(&f, true);
        add(&f);
        f.late = late;
        virtio_serve_queue(&f.device, 0, 100, serve);
        assert_int_equal(f.served, 1 + late);
        assert_int_equal(get16(&f, USED + 4 + 8 * SIZE), 1 + late);
        guest_memory_release(&f.memory);
    }
}

static void late_requests_with_flags(void **state)
{
    struct fixture f;

    (void)state;
    for (unsigned late = 0; late < 5; late++) {
        set_up(&f, false);
        add(&f);
        f.late = late;
        virtio_serve_queue(&f.device, 0, 100, serve);
        assert_int_equal(f.served, 1 + late);
        assert_int_equal(get16(&f, USED), 0); /* notifications are wanted */
        guest_memory_release(&f.memory);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(late_requests_with_event_index),
        cmocka_unit_test(late_requests_with_flags),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
