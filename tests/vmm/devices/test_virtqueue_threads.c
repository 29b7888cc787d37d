/* SPDX-License-Identifier: Apache-2.0 */
/* Driver and device on two threads, each asleep on an eventfd whenever it has nothing to do: a
 * barrier that is missing or an event that is computed wrongly ends in a wake-up that never comes,
 * or in a request seen before its content. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <errno.h>
#include <linux/virtio_ring.h>
#include <poll.h>
#include <pthread.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "vmm/devices/virtio.h"

#define MEMORY_BYTES (1u << 20)
#define DESCRIPTORS  0x10000u
#define AVAILABLE    0x20000u
#define USED         0x30000u
#define DATA         0x40000u
#define SIZE         4u         /* small, so that both sides often find nothing to do */
#define RING         (2 * SIZE) /* every request takes two descriptors */
#define TURN         3u         /* requests a notification serves, then it notifies itself */
#define REQUESTS     100000u
#define PATIENCE_MS  20000 /* only a lost wake-up waits so long */

struct shared {
    struct virtio_device device;
    struct guest_memory memory;
    bool event_index;
    uint32_t served; /* the device thread's */
};

static uint16_t *field(struct shared *s, uint64_t gpa)
{
    return guest_pointer(&s->memory, gpa, sizeof(uint16_t));
}

static bool wait_for(int fd)
{
    struct pollfd poll_fd = {.fd = fd, .events = POLLIN};
    eventfd_t count;

    return poll(&poll_fd, 1, PATIENCE_MS) == 1 && eventfd_read(fd, &count) == 0;
}

/* ---- the device ---- */

/* Each request carries its number; the device answers with its complement. */
static int64_t serve(struct virtio_device *device, const struct virtqueue_chain *chain)
{
    struct shared *s = CONTAINER_OF(device, struct shared, device);
    uint32_t number = 0, answer = ~s->served;

    if (virtqueue_read(chain, 0, &number, sizeof(number)) != sizeof(number) || number != s->served)
        return -EPROTO;
    s->served++;
    return (int64_t)virtqueue_write(chain, 0, &answer, sizeof(answer));
}

static void *device_thread(void *argument)
{
    struct shared *s = argument;

    virtio_serve_queue(&s->device, 0, TURN, serve);
    while (s->served < REQUESTS && !s->device.queues[0].broken && wait_for(s->device.notify_fds[0]))
        virtio_serve_queue(&s->device, 0, TURN, serve);
    return NULL;
}

/* ---- the driver, as virtio 1.2 section 2.7.13 and 2.7.14 describe it ---- */

static void add_request(struct shared *s, uint16_t position, uint32_t number)
{
    uint16_t slot = position % SIZE;
    uint16_t next = (uint16_t)(position + 1);

    memcpy(guest_pointer(&s->memory, DATA + 64u * slot, 4), &number, 4);
    *field(s, AVAILABLE + 4 + 2u * (position % RING)) = (uint16_t)(2 * slot);
    __atomic_store_n(field(s, AVAILABLE + 2), next, __ATOMIC_RELEASE);
    __atomic_thread_fence(__ATOMIC_SEQ_CST);
    bool wanted;
    if (s->event_index)
        wanted = __atomic_load_n(field(s, USED + 4 + 8 * RING), __ATOMIC_RELAXED) == position;
    else
        wanted = !(__atomic_load_n(field(s, USED), __ATOMIC_RELAXED) & VRING_USED_F_NO_NOTIFY);
    if (wanted)
        (void)eventfd_write(s->device.notify_fds[0], 1);
}

static bool used_reached(struct shared *s, uint16_t position)
{
    return __atomic_load_n(field(s, USED + 2), __ATOMIC_ACQUIRE) != position;
}

/* Lets some time pass, different each time, so that the two sides meet at ever other places. */
static void dawdle(uint32_t number)
{
    for (volatile uint32_t i = number * 2654435761u >> 25; i > 0; i--)
        ;
}

/* Waits until the device has used the request at `position`: awake at first, then asleep. */
static bool await_used(struct shared *s, uint16_t position)
{
    for (unsigned i = 0; i < 2000 && !used_reached(s, position); i++)
        ;
    while (!used_reached(s, position)) {
        if (s->event_index)
            __atomic_store_n(field(s, AVAILABLE + 4 + 2 * RING), position, __ATOMIC_RELAXED);
        else
            __atomic_store_n(field(s, AVAILABLE), 0, __ATOMIC_RELAXED);
        __atomic_thread_fence(__ATOMIC_SEQ_CST);
        if (!used_reached(s, position) && !wait_for(s->device.irq_fd))
            return false;
        if (!s->event_index)
            __atomic_store_n(field(s, AVAILABLE), VRING_AVAIL_F_NO_INTERRUPT, __ATOMIC_RELAXED);
    }
    return true;
}

static void lay_out(struct shared *s)
{
    struct vring_desc descriptors[RING];

    for (unsigned i = 0; i < RING; i += 2) {
        uint64_t data = DATA + 32ull * i;
        descriptors[i] = (struct vring_desc){
            .addr = data, .len = 4, .flags = VRING_DESC_F_NEXT, .next = (uint16_t)(i + 1)};
        descriptors[i + 1] =
            (struct vring_desc){.addr = data + 32, .len = 4, .flags = VRING_DESC_F_WRITE};
    }
    assert_int_equal(guest_write(&s->memory, DESCRIPTORS, descriptors, sizeof(descriptors)), 0);
}

/* Keeps one to SIZE requests in flight. */
static void drive(struct shared *s)
{
    uint32_t added = 0, used = 0;

    while (used < REQUESTS) {
        unsigned window = 1 + used % SIZE;
        while (added < REQUESTS && added - used < window) {
            dawdle(added);
            add_request(s, (uint16_t)added, added);
            added++;
        }
        if (!await_used(s, (uint16_t)used))
            fail_msg("the interrupt for request %u never came", used);
        uint32_t answer;
        memcpy(&answer, guest_pointer(&s->memory, DATA + 64u * (used % SIZE) + 32, 4), 4);
        assert_int_equal(answer, ~used);
        used++;
    }
}

static void run(bool event_index)
{
    static const struct virtio_ops ops = {.name = "complement", .queue_count = 1};
    struct shared s = {.event_index = event_index};
    struct error err = {0};
    pthread_t thread;

    assert_int_equal(guest_memory_create(&s.memory, MEMORY_BYTES, &err), 0);
    virtio_device_init(&s.device, &ops, &s.memory, NULL);
    s.device.queues[0] = (struct virtqueue){.memory = &s.memory,
                                            .size = RING,
                                            .ready = true,
                                            .event_index = event_index,
                                            .descriptors = DESCRIPTORS,
                                            .driver = AVAILABLE,
                                            .device = USED};
    assert_true(virtqueue_valid(&s.device.queues[0]));
    s.device.notify_fds[0] = eventfd(0, EFD_CLOEXEC);
    s.device.irq_fd = eventfd(0, EFD_CLOEXEC);
    lay_out(&s);
    assert_int_equal(pthread_create(&thread, NULL, device_thread, &s), 0);
    drive(&s);
    assert_int_equal(pthread_join(thread, NULL), 0);
    assert_int_equal(s.served, REQUESTS);
    assert_false(s.device.queues[0].broken);
    close(s.device.notify_fds[0]);
    close(s.device.irq_fd);
    guest_memory_release(&s.memory);
}

static void with_flags(void **state)
{
    (void)state;
    run(false);
}

static void with_event_index(void **state)
{
    (void)state;
    run(true);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(with_flags),
        cmocka_unit_test(with_event_index),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
