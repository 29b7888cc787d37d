/* SPDX-License-Identifier: Apache-2.0 */
/* Random register accesses and random guest memory against the block, entropy and balloon devices
 * behind their transports. The input is a list of operations; the memory they leave lies in reach
 * of the queues that are set up. */
#include <fcntl.h>
#include <linux/virtio_config.h>
#include <poll.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "base/log.h"
#include "vmm/devices/virtio.h"
#include "vmm/devices/virtio_mmio.h"

#define MEMORY_BYTES (1u << 20)
#define DISK_BYTES   (64u << 10)
#define DEVICES      3u

struct machine {
    struct guest_memory memory;
    struct loop *loop;
    int disk;
    struct virtio_mmio *transports[DEVICES];
};

struct input {
    const uint8_t *data;
    size_t left;
};

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static uint64_t take(struct input *input, size_t bytes)
{
    uint64_t value = 0;

    if (bytes > input->left)
        bytes = input->left;
    memcpy(&value, input->data, bytes);
    input->data += bytes;
    input->left -= bytes;
    return value;
}

static struct virtio_mmio *plug(struct virtio_device *device, uint32_t slot)
{
    struct virtio_mmio *transport = device ? virtio_mmio_create(device, slot, NULL) : NULL;

    if (!transport)
        abort();
    return transport;
}

static void plug_all(struct machine *m, uint8_t kind)
{
    char path[64];
    (void)snprintf(path, sizeof(path), "/proc/self/fd/%d", m->disk);
    struct drive_config drive = {.drive_id = (char *)"fuzz",
                                 .path_on_host = path,
                                 .is_read_only = kind & 1,
                                 .writeback = kind & 2};
    struct balloon_config balloon = {.present = true, .free_page_reporting = kind & 4};

    m->transports[0] = plug(virtio_block_create(&drive, &m->memory, m->loop, NULL), 0);
    m->transports[1] = plug(virtio_rng_create(&m->memory, m->loop, NULL), 1);
    m->transports[2] = plug(virtio_balloon_create(&balloon, &m->memory, m->loop, NULL), 2);
}

/* Memory and disk live as long as the process; devices as long as one input. */
static struct machine *machine_once(void)
{
    static struct machine machine;

    if (machine.memory.size > 0)
        return &machine;
    log_set_level(LOG_LEVEL_ERROR);
    machine.loop = loop_create(NULL);
    machine.disk = memfd_create("disk", MFD_CLOEXEC);
    if (!machine.loop || machine.disk < 0 || ftruncate(machine.disk, DISK_BYTES) < 0 ||
        guest_memory_create(&machine.memory, MEMORY_BYTES, NULL) < 0)
        abort();
    return &machine;
}

static void set(struct virtio_mmio *transport, uint64_t offset, uint32_t value)
{
    struct bus_device *bus = virtio_mmio_bus_device(transport);
    uint8_t data[4];

    memcpy(data, &value, sizeof(value));
    bus->write(bus, offset, data, sizeof(data));
}

/* What the loop would do, bounded: a hostile guest can keep it busy for ever. */
static void run_notifications(struct virtio_mmio *transport)
{
    for (unsigned turn = 0; turn < 4; turn++) {
        for (unsigned i = 0; i < virtio_mmio_device(transport)->ops->queue_count; i++) {
            struct loop_source *source = &transport->notifiers[i].source;
            struct pollfd poll_fd = {.fd = source->fd, .events = POLLIN};
            if (poll(&poll_fd, 1, 0) > 0)
                source->ready(source, POLLIN);
        }
    }
}

static void access_register(struct virtio_mmio *transport, struct input *input)
{
    struct bus_device *bus = virtio_mmio_bus_device(transport);
    uint64_t how = take(input, 1), offset = take(input, 2) % VIRTIO_MMIO_SIZE;
    size_t size = (size_t)1 << (how & 3);
    uint8_t data[8] = {0};

    if (offset + size > VIRTIO_MMIO_SIZE)
        return;
    if (how & 4) {
        uint64_t value = take(input, size);
        memcpy(data, &value, sizeof(data));
        bus->write(bus, offset, data, size);
    } else {
        bus->read(bus, offset, data, size);
    }
    run_notifications(transport);
}

/* Brings the device up with one queue at addresses of the input, as deep as random accesses would
 * hardly ever get. */
static void start(struct virtio_mmio *transport, struct input *input)
{
    uint64_t features = virtio_mmio_offered(transport) & ~take(input, 8);
    unsigned queues = virtio_mmio_device(transport)->ops->queue_count;

    set(transport, VIRTIO_MMIO_STATUS, 0);
    set(transport, VIRTIO_MMIO_STATUS, 1);
    set(transport, VIRTIO_MMIO_STATUS, 3);
    set(transport, VIRTIO_MMIO_DRIVER_FEATURES, (uint32_t)features);
    set(transport, VIRTIO_MMIO_DRIVER_FEATURES_SEL, 1);
    set(transport, VIRTIO_MMIO_DRIVER_FEATURES, (uint32_t)(features >> 32) | 1);
    set(transport, VIRTIO_MMIO_STATUS, 11);
    for (unsigned i = 0; i < queues; i++) {
        set(transport, VIRTIO_MMIO_QUEUE_SEL, i);
        set(transport, VIRTIO_MMIO_QUEUE_NUM, 1u << (take(input, 1) % 9));
        set(transport, VIRTIO_MMIO_QUEUE_DESC_LOW, (uint32_t)take(input, 1) << 4);
        set(transport, VIRTIO_MMIO_QUEUE_AVAIL_LOW, (uint32_t)take(input, 1) << 4);
        set(transport, VIRTIO_MMIO_QUEUE_USED_LOW, (uint32_t)take(input, 1) << 4);
        set(transport, VIRTIO_MMIO_QUEUE_READY, 1);
    }
    set(transport, VIRTIO_MMIO_STATUS, 15);
}

static void write_memory(struct machine *m, struct input *input)
{
    uint64_t gpa = take(input, 2);
    size_t length = take(input, 1);

    if (length > input->left)
        length = input->left;
    (void)guest_write(&m->memory, gpa, input->data, length);
    input->data += length;
    input->left -= length;
}

/* A well-formed chain of two to three buffers in the queue's own rings, its values the input's. */
static void add_request(struct machine *m, struct virtio_mmio *transport, struct input *input)
{
    struct virtio_device *device = virtio_mmio_device(transport);
    unsigned index = (unsigned)take(input, 1) % device->ops->queue_count;
    const struct virtqueue *queue = &device->queues[index];
    uint16_t zero = 0, next = (uint16_t)(queue->next_available + 1);
    unsigned count = 1 + (unsigned)take(input, 1) % 3;

    if (!queue->ready)
        return;
    for (unsigned i = 0; i < count; i++) {
        struct {
            uint64_t gpa;
            uint32_t length;
            uint16_t flags, next;
        } descriptor = {take(input, 3) % MEMORY_BYTES, (uint32_t)take(input, 2) + 1,
                        (uint16_t)((i + 1u < count) | (take(input, 1) & 2)), (uint16_t)(i + 1)};
        (void)guest_write(&m->memory, queue->descriptors + 16ull * i, &descriptor, 16);
    }
    uint16_t slot = queue->next_available & (uint16_t)(queue->size - 1);
    (void)guest_write(&m->memory, queue->driver + 4 + 2ull * slot, &zero, 2);
    (void)guest_write(&m->memory, queue->driver + 2, &next, 2);
    set(transport, VIRTIO_MMIO_QUEUE_NOTIFY, index);
    run_notifications(transport);
}

static void save_and_load(struct virtio_mmio *transport)
{
    struct state_writer writer;
    struct state_reader reader;

    state_writer_init(&writer);
    if (virtio_mmio_save(transport, &writer, NULL) < 0 || state_writer_finish(&writer, NULL) < 0 ||
        state_reader_open(&reader, writer.data, writer.length, NULL) < 0 ||
        virtio_mmio_load(transport, &reader, NULL) < 0)
        abort(); /* what a guest can bring about can be saved and loaded */
    state_writer_free(&writer);
    virtio_mmio_kick(transport);
}

/* Loads a state that differs from the device's own in a few bytes of the transport's section. */
static void load_changed(struct virtio_mmio *transport, struct input *input)
{
    static const enum state_kind own[] = {STATE_VIRTIO_BLOCK, STATE_VIRTIO_BALLOON};
    uint32_t slot = virtio_mmio_slot(transport);
    struct state_writer saved, changed;
    struct state_reader reader;
    struct state_section section;
    uint8_t bytes[512];

    state_writer_init(&saved);
    state_writer_init(&changed);
    if (virtio_mmio_save(transport, &saved, NULL) < 0 || state_writer_finish(&saved, NULL) < 0 ||
        state_reader_open(&reader, saved.data, saved.length, NULL) < 0 ||
        !state_find(&reader, STATE_VIRTIO_MMIO, slot, &section) || section.length > sizeof(bytes))
        abort();
    memcpy(bytes, section.payload, section.length);
    for (unsigned i = (unsigned)take(input, 1) % 4 + 1; i > 0; i--)
        bytes[take(input, 1) % section.length] = (uint8_t)take(input, 1);
    state_put(&changed, STATE_VIRTIO_MMIO, slot, section.version, bytes, section.length);
    for (unsigned i = 0; i < 2; i++) {
        if (state_find(&reader, own[i], slot, &section))
            state_put(&changed, own[i], slot, section.version, section.payload, section.length);
    }
    if (state_writer_finish(&changed, NULL) < 0 ||
        state_reader_open(&reader, changed.data, changed.length, NULL) < 0)
        abort();
    (void)virtio_mmio_load(transport, &reader, NULL); /* refused, or whatever it says is safe */
    virtio_mmio_kick(transport);
    run_notifications(transport);
    state_writer_free(&saved);
    state_writer_free(&changed);
}

static void operate(struct machine *m, struct input *input)
{
    uint64_t operation = take(input, 1);
    struct virtio_mmio *transport = m->transports[operation / 16 % DEVICES];

    switch (operation % 8) {
    case 0:
    case 1:
        access_register(transport, input);
        break;
    case 2:
        start(transport, input);
        break;
    case 3:
        write_memory(m, input);
        break;
    case 4:
        if (operation & 8)
            load_changed(transport, input);
        else
            save_and_load(transport);
        break;
    default:
        add_request(m, transport, input);
        break;
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct machine *m = machine_once();
    struct input input = {.data = data, .left = size};

    memset(m->memory.regions[0].host, 0, 1u << 16);
    plug_all(m, (uint8_t)take(&input, 1));
    while (input.left > 0)
        operate(m, &input);
    for (unsigned i = 0; i < DEVICES; i++)
        virtio_mmio_destroy(m->transports[i]);
    return 0;
}
