/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "virtio_guest.h"

#include <linux/virtio_config.h>
#include <linux/virtio_ring.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <unistd.h>

#include "base/cleanup.h"

#define FIRST_FREE (1u << 20)

static void create_loop(struct guest *guest)
{
    struct error err = {0};

    guest->loop = loop_create(&err);
    assert_non_null(guest->loop);
    guest->next_free = FIRST_FREE;
}

void guest_create(struct guest *guest, uint64_t memory_mib)
{
    struct error err = {0};

    *guest = (struct guest){0};
    assert_int_equal(guest_memory_create(&guest->memory, memory_mib << 20, &err), 0);
    create_loop(guest);
}

void guest_create_from_file(struct guest *guest, uint64_t memory_mib)
{
    struct error err = {0};
    uint8_t page[GUEST_PAGE_SIZE];
    _cleanup_(close) int fd = memfd_create("guest-memory", MFD_CLOEXEC);

    assert_true(fd >= 0);
    for (uint64_t i = 0; i < memory_mib << 8; i++) {
        memset(page, (int)(uint8_t)(i + 1), sizeof(page));
        assert_int_equal(write(fd, page, sizeof(page)), sizeof(page));
    }
    *guest = (struct guest){0};
    assert_int_equal(guest_memory_map(&guest->memory, memory_mib << 20, fd, "memory", &err), 0);
    create_loop(guest);
}

void guest_destroy(struct guest *guest)
{
    virtio_mmio_destroy(guest->transport);
    loop_destroy(guest->loop);
    guest_memory_release(&guest->memory);
}

void guest_plug(struct guest *guest, struct virtio_device *device)
{
    struct error err = {0};

    assert_non_null(device);
    guest->transport = virtio_mmio_create(device, 0, &err);
    assert_non_null(guest->transport);
}

uint64_t guest_allocate(struct guest *guest, uint64_t bytes, uint64_t alignment)
{
    uint64_t gpa = (guest->next_free + alignment - 1) & ~(alignment - 1);

    guest->next_free = gpa + bytes;
    assert_true(guest->next_free <= guest->memory.size);
    return gpa;
}

void *guest_at(const struct guest *guest, uint64_t gpa, uint64_t length)
{
    void *host = guest_pointer(&guest->memory, gpa, length);

    assert_non_null(host);
    return host;
}

uint32_t guest_get(struct guest *guest, uint64_t offset)
{
    struct bus_device *bus = virtio_mmio_bus_device(guest->transport);
    uint8_t data[4] = {0};
    uint32_t value;

    bus->read(bus, offset, data, sizeof(data));
    memcpy(&value, data, sizeof(value));
    return value;
}

void guest_set(struct guest *guest, uint64_t offset, uint32_t value)
{
    struct bus_device *bus = virtio_mmio_bus_device(guest->transport);
    uint8_t data[4];

    memcpy(data, &value, sizeof(value));
    bus->write(bus, offset, data, sizeof(data));
}

uint64_t guest_offered_features(struct guest *guest)
{
    guest_set(guest, VIRTIO_MMIO_DEVICE_FEATURES_SEL, 0);
    uint64_t features = guest_get(guest, VIRTIO_MMIO_DEVICE_FEATURES);
    guest_set(guest, VIRTIO_MMIO_DEVICE_FEATURES_SEL, 1);
    return features | (uint64_t)guest_get(guest, VIRTIO_MMIO_DEVICE_FEATURES) << 32;
}

void guest_negotiate(struct guest *guest, uint64_t features)
{
    guest_set(guest, VIRTIO_MMIO_STATUS, 0);
    guest_set(guest, VIRTIO_MMIO_STATUS, 1);
    guest_set(guest, VIRTIO_MMIO_STATUS, 3);
    guest_set(guest, VIRTIO_MMIO_DRIVER_FEATURES_SEL, 0);
    guest_set(guest, VIRTIO_MMIO_DRIVER_FEATURES, (uint32_t)features);
    guest_set(guest, VIRTIO_MMIO_DRIVER_FEATURES_SEL, 1);
    guest_set(guest, VIRTIO_MMIO_DRIVER_FEATURES, (uint32_t)(features >> 32));
    guest_set(guest, VIRTIO_MMIO_STATUS, 11);
}

static void set_address(struct guest *guest, uint64_t offset, uint64_t gpa)
{
    guest_set(guest, offset, (uint32_t)gpa);
    guest_set(guest, offset + 4, (uint32_t)(gpa >> 32));
}

void guest_setup_queue(struct guest *guest, unsigned index, uint16_t size)
{
    struct guest_ring *ring = &guest->rings[index];

    *ring = (struct guest_ring){.size = size};
    ring->descriptors = guest_allocate(guest, 16ull * size, 16);
    ring->available = guest_allocate(guest, 6 + 2ull * size, 2);
    ring->used = guest_allocate(guest, 6 + 8ull * size, 4);
    memset(guest_at(guest, ring->descriptors, 16ull * size), 0, 16ull * size);
    memset(guest_at(guest, ring->available, 6 + 2ull * size), 0, 6 + 2ull * size);
    memset(guest_at(guest, ring->used, 6 + 8ull * size), 0, 6 + 8ull * size);

    guest_set(guest, VIRTIO_MMIO_QUEUE_SEL, index);
    guest_set(guest, VIRTIO_MMIO_QUEUE_NUM, size);
    set_address(guest, VIRTIO_MMIO_QUEUE_DESC_LOW, ring->descriptors);
    set_address(guest, VIRTIO_MMIO_QUEUE_AVAIL_LOW, ring->available);
    set_address(guest, VIRTIO_MMIO_QUEUE_USED_LOW, ring->used);
    guest_set(guest, VIRTIO_MMIO_QUEUE_READY, 1);
    assert_int_equal(guest_get(guest, VIRTIO_MMIO_QUEUE_READY), 1);
}

void guest_start(struct guest *guest, uint64_t features, uint16_t queue_size)
{
    const struct virtio_ops *ops = virtio_mmio_device(guest->transport)->ops;

    guest_negotiate(guest, features | 1ull << VIRTIO_F_VERSION_1);
    assert_int_equal(guest_get(guest, VIRTIO_MMIO_STATUS), 11);
    for (unsigned i = 0; i < ops->queue_count; i++)
        guest_setup_queue(guest, i, queue_size);
    guest_set(guest, VIRTIO_MMIO_STATUS, 15);
    assert_int_equal(guest_get(guest, VIRTIO_MMIO_STATUS), 15);
    (void)guest_interrupted(guest);
}

void guest_descriptor(struct guest *guest, unsigned index, uint16_t descriptor, uint64_t gpa,
                      uint32_t length, uint16_t flags, uint16_t next)
{
    struct vring_desc value = {.addr = gpa, .len = length, .flags = flags, .next = next};
    uint64_t at = guest->rings[index].descriptors + 16ull * descriptor;

    assert_int_equal(guest_write(&guest->memory, at, &value, sizeof(value)), 0);
}

void guest_publish(struct guest *guest, unsigned index, uint16_t head)
{
    struct guest_ring *ring = &guest->rings[index];
    uint64_t slot = ring->available + 4 + 2ull * (ring->available_index % ring->size);

    assert_int_equal(guest_write(&guest->memory, slot, &head, sizeof(head)), 0);
    ring->available_index++;
    assert_int_equal(guest_write(&guest->memory, ring->available + 2, &ring->available_index, 2),
                     0);
}

uint16_t guest_add(struct guest *guest, unsigned index, const struct guest_buffer *buffers,
                   unsigned count)
{
    struct guest_ring *ring = &guest->rings[index];
    uint16_t head = ring->next_descriptor;

    for (unsigned i = 0; i < count; i++) {
        uint16_t descriptor = ring->next_descriptor;
        ring->next_descriptor = (uint16_t)((descriptor + 1) % ring->size);
        uint16_t flags = (uint16_t)((buffers[i].writable ? VRING_DESC_F_WRITE : 0) |
                                    (i + 1 < count ? VRING_DESC_F_NEXT : 0));
        guest_descriptor(guest, index, descriptor, buffers[i].gpa, buffers[i].length, flags,
                         ring->next_descriptor);
    }
    guest_publish(guest, index, head);
    return head;
}

/* ---- the loop ---- */

struct stopper {
    struct loop_source source;
    struct guest *guest;
    struct loop *outer;
};

static bool notification_pending(const struct guest *guest)
{
    const struct virtio_device *device = virtio_mmio_device(guest->transport);

    for (unsigned i = 0; i < device->ops->queue_count; i++) {
        struct pollfd poll_fd = {.fd = device->notify_fds[i], .events = POLLIN};
        if (poll(&poll_fd, 1, 0) > 0)
            return true;
    }
    return false;
}

static void stop_when_idle(struct loop_source *source, uint32_t events)
{
    struct stopper *stopper = CONTAINER_OF(source, struct stopper, source);

    (void)events;
    if (!notification_pending(stopper->guest))
        loop_stop(stopper->outer, 0);
}

void guest_run(struct guest *guest)
{
    struct error err = {0};
    struct stopper stopper = {.source = {.ready = stop_when_idle}, .guest = guest};

    stopper.outer = loop_create(&err);
    stopper.source.fd = eventfd(1, EFD_CLOEXEC);
    assert_non_null(stopper.outer);
    assert_true(stopper.source.fd >= 0);
    assert_int_equal(loop_attach(stopper.outer, guest->loop, &err), 0);
    assert_int_equal(loop_add(stopper.outer, &stopper.source, EPOLLIN, &err), 0);
    assert_int_equal(loop_run(stopper.outer), 0);
    loop_detach(stopper.outer, guest->loop);
    close(stopper.source.fd);
    loop_destroy(stopper.outer);
}

void guest_notify(struct guest *guest, unsigned index)
{
    guest_set(guest, VIRTIO_MMIO_QUEUE_NOTIFY, index);
    guest_run(guest);
}

bool guest_take_used(struct guest *guest, unsigned index, uint16_t *head, uint32_t *length)
{
    struct guest_ring *ring = &guest->rings[index];
    struct vring_used_elem element;
    uint16_t used_index;

    assert_int_equal(guest_read(&guest->memory, ring->used + 2, &used_index, 2), 0);
    if (used_index == ring->used_index)
        return false;
    uint64_t slot = ring->used + 4 + 8ull * (ring->used_index % ring->size);
    assert_int_equal(guest_read(&guest->memory, slot, &element, sizeof(element)), 0);
    ring->used_index++;
    /* used_event (2.7.10): the driver wants to hear of the next one. */
    assert_int_equal(
        guest_write(&guest->memory, ring->available + 4 + 2ull * ring->size, &ring->used_index, 2),
        0);
    *head = (uint16_t)element.id;
    *length = element.len;
    return true;
}

bool guest_interrupted(struct guest *guest)
{
    eventfd_t count;

    return eventfd_read(virtio_mmio_irq_fd(guest->transport), &count) == 0;
}
