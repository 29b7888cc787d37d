/* SPDX-License-Identifier: Apache-2.0 */
/* A queue over random ring memory: the input is the queue's settings and positions, then the bytes
 * of guest memory, repeated. Requests are taken until there are none; every buffer of each is read
 * or written whole, so that an address the checks let through by mistake is found. */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "vmm/devices/virtqueue.h"

#define MEMORY_BYTES (1u << 20)
#define POPS_MAX     600u

struct settings {
    uint16_t size;
    uint16_t next_available, next_used, signalled_used;
    uint8_t flags;
    uint8_t undo;
    uint32_t descriptors, driver, device;
} __attribute__((packed));

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static struct guest_memory *memory_once(void)
{
    static struct guest_memory memory;

    if (memory.size == 0 && guest_memory_create(&memory, MEMORY_BYTES, NULL) < 0)
        abort();
    return &memory;
}

/* Small inputs fill the first pages only: rings and descriptors are put there. */
static void fill(struct guest_memory *memory, const uint8_t *data, size_t size)
{
    uint8_t *host = memory->regions[0].host;

    memset(host, 0, 1u << 16);
    memcpy(host, data, size < 1u << 16 ? size : 1u << 16);
}

static void use_buffers(const struct virtqueue_chain *chain)
{
    uint64_t readable = 0, writable = 0;
    uint8_t byte = 0;

    for (unsigned i = 0; i < chain->readable_count; i++) {
        const volatile uint8_t *bytes = chain->readable[i].iov_base;
        byte ^= (uint8_t)(bytes[0] ^ bytes[chain->readable[i].iov_len - 1]);
        readable += chain->readable[i].iov_len;
    }
    for (unsigned i = 0; i < chain->writable_count; i++) {
        volatile uint8_t *bytes = chain->writable[i].iov_base;
        bytes[0] = byte;
        bytes[chain->writable[i].iov_len - 1] = byte;
        writable += chain->writable[i].iov_len;
    }
    if (readable != chain->readable_bytes || writable != chain->writable_bytes)
        abort();
    (void)virtqueue_write(chain, writable / 2, &byte, 1);
    (void)virtqueue_read(chain, readable / 2, &byte, 1);
}

static void serve(struct virtqueue *queue, bool undo)
{
    static struct virtqueue_chain chain;

    for (unsigned i = 0; i < POPS_MAX; i++) {
        int got = virtqueue_pop(queue, &chain);
        if (got == 0)
            virtqueue_enable_notification(queue, true);
        if (got <= 0)
            break;
        use_buffers(&chain);
        if (undo && i % 3 == 0) {
            virtqueue_undo_pop(queue);
            continue;
        }
        virtqueue_push(queue, chain.head, (uint32_t)chain.writable_bytes);
        (void)virtqueue_should_signal(queue);
        virtqueue_enable_notification(queue, i % 2 == 0);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct guest_memory *memory = memory_once();
    struct settings settings;

    if (size < sizeof(settings))
        return 0;
    memcpy(&settings, data, sizeof(settings));
    fill(memory, data + sizeof(settings), size - sizeof(settings));
    struct virtqueue queue = {.memory = memory,
                              .size = settings.size,
                              .ready = (settings.flags & 1) == 0,
                              .event_index = (settings.flags & 2) != 0,
                              .signalled_valid = (settings.flags & 4) != 0,
                              .descriptors = settings.descriptors,
                              .driver = settings.driver,
                              .device = settings.device,
                              .next_available = settings.next_available,
                              .next_used = settings.next_used,
                              .signalled_used = settings.signalled_used};
    if (virtqueue_valid(&queue))
        serve(&queue, settings.undo & 1);
    return 0;
}
