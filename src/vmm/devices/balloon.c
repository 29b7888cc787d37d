/* SPDX-License-Identifier: Apache-2.0 */
/* The memory balloon (virtio 1.2, section 5.5): pages the guest puts in (inflate), takes back
 * (deflate), or reports as free go back to the host. The device promises nothing about their later
 * content: discarded ones read as zeros, those that could not be given back keep what they held. */
#include <errno.h>
#include <linux/virtio_balloon.h>
#include <linux/virtio_ids.h>
#include <stdlib.h>

#include "base/cleanup.h"
#include "vmm/devices/virtio.h"

#define BALLOON_STATE_VERSION 1u

#define PAGE_SHIFT        VIRTIO_BALLOON_PFN_SHIFT
#define PAGES_PER_MIB     (1u << (20 - PAGE_SHIFT))
#define REQUESTS_PER_TURN 16u
/* Page numbers in one inflate request; Linux sends at most 256. */
#define REQUEST_PAGES_MAX 4096u

/* 5.5.2 numbers the queues inflate 0, deflate 1, statistics 2, free page hints 3, reporting 4, each
 * of the last three existing only with its feature. Linux leaves no gap for one that is absent (up
 * to at least 6.10; reporting alone is then queue 2), other drivers keep the numbers. Neither
 * statistics nor hints are ever offered, so whichever of the three is used is reporting. */
enum { QUEUE_INFLATE, QUEUE_DEFLATE, QUEUE_REPORTING, QUEUE_COUNT = 5 };

/* In memory mapped from a file every discarded run is a mapping of its own, two more at its ends.
 * Runs shorter than a huge page are left to the guest once there have been so many of them, well
 * below the usual vm.max_map_count of 65530. */
#define SHORT_RUN_BYTES (2ull << 20)
#define SHORT_RUNS_MAX  20000u

struct balloon {
    struct virtio_device device;
    bool deflate_on_oom, reporting;
    uint32_t target_pages; /* num_pages of the configuration space */
    uint32_t actual_pages; /* what the driver says it has put in */
    uint32_t short_runs;   /* discarded so far, in file-backed memory */
};

struct balloon_state {
    uint32_t target_pages, actual_pages;
};

static struct balloon *from_device(struct virtio_device *device)
{
    return CONTAINER_OF(device, struct balloon, device);
}

/* ---- giving memory back ---- */

/* Gives a run inside guest memory back. Failing is harmless: the pages stay the guest's. */
static void discard(struct balloon *balloon, uint64_t gpa, uint64_t length)
{
    struct guest_memory *memory = balloon->device.memory;
    bool costly = memory->backing == GUEST_FILE && length < SHORT_RUN_BYTES;

    if (costly && balloon->short_runs >= SHORT_RUNS_MAX)
        return;
    balloon->short_runs += costly;
    int r = guest_memory_discard(memory, gpa, length);
    if (r < 0)
        virtio_complain(&balloon->device, "discard %llu bytes at %#llx: %s",
                        (unsigned long long)length, (unsigned long long)gpa, errno_name(-r));
}

static int compare_pages(const void *a, const void *b)
{
    uint32_t left = *(const uint32_t *)a, right = *(const uint32_t *)b;

    return (left > right) - (left < right);
}

/* How many of the sorted page numbers from `first` on lie side by side; duplicates count. */
static size_t run_entries(const uint32_t *pages, size_t count, size_t first)
{
    size_t i = first + 1;

    while (i < count && pages[i] - pages[i - 1] <= 1)
        i++;
    return i - first;
}

/* Discards the pages, neighbours in one piece. -EPROTO if one is not guest memory. */
static int discard_pages(struct balloon *balloon, uint32_t *pages, size_t count)
{
    size_t entries;

    qsort(pages, count, sizeof(*pages), compare_pages);
    for (size_t i = 0; i < count; i += entries) {
        entries = run_entries(pages, count, i);
        uint64_t gpa = (uint64_t)pages[i] << PAGE_SHIFT;
        uint64_t length = (uint64_t)(pages[i + entries - 1] - pages[i] + 1) << PAGE_SHIFT;
        if (!guest_view(balloon->device.memory, gpa, length))
            return -EPROTO;
        discard(balloon, gpa, length);
    }
    return 0;
}

/* ---- queues ---- */

/* 5.5.6: an array of 32-bit page numbers. Nothing is written back. */
static int64_t serve_inflate(struct virtio_device *device, const struct virtqueue_chain *chain)
{
    uint32_t pages[REQUEST_PAGES_MAX];

    if (chain->readable_bytes > sizeof(pages) || chain->readable_bytes % sizeof(*pages) != 0)
        return -EPROTO;
    size_t bytes = virtqueue_read(chain, 0, pages, chain->readable_bytes);
    return discard_pages(from_device(device), pages, bytes / sizeof(*pages));
}

/* Pages taken back need nothing: they are mapped and read as zeros. */
static int64_t serve_deflate(struct virtio_device *device, const struct virtqueue_chain *chain)
{
    (void)device;
    (void)chain;
    return 0;
}

/* The guest-physical address of a buffer that virtqueue_pop() found in guest memory. */
static uint64_t buffer_gpa(const struct guest_memory *memory, const uint8_t *host)
{
    for (unsigned i = 0; i < memory->region_count; i++) {
        const struct guest_region *region = &memory->regions[i];
        if (host >= region->host && host < region->host + region->size)
            return region->gpa + (uint64_t)(host - region->host);
    }
    abort(); /* every buffer of a chain lies in a region */
}

/* 5.5.6.7: the buffers themselves are the free pages. A part of a page at an end is not free. */
static int64_t serve_reporting(struct virtio_device *device, const struct virtqueue_chain *chain)
{
    const uint64_t mask = GUEST_PAGE_SIZE - 1;

    for (unsigned i = 0; i < chain->writable_count; i++) {
        uint64_t start = buffer_gpa(device->memory, chain->writable[i].iov_base);
        uint64_t end = (start + chain->writable[i].iov_len) & ~mask;
        start = (start + mask) & ~mask;
        if (start < end)
            discard(from_device(device), start, end - start);
    }
    return 0;
}

static void balloon_notify(struct virtio_device *device, unsigned index)
{
    if (index == QUEUE_INFLATE)
        virtio_serve_queue(device, index, REQUESTS_PER_TURN, serve_inflate);
    else if (index == QUEUE_DEFLATE)
        virtio_serve_queue(device, index, REQUESTS_PER_TURN, serve_deflate);
    else if (device->acked_features & (1ull << VIRTIO_BALLOON_F_REPORTING))
        virtio_serve_queue(device, index, REQUESTS_PER_TURN, serve_reporting);
}

/* ---- features and configuration space ---- */

static uint64_t balloon_features(const struct virtio_device *device)
{
    const struct balloon *balloon = (const struct balloon *)device;

    return (balloon->deflate_on_oom ? 1ull << VIRTIO_BALLOON_F_DEFLATE_ON_OOM : 0) |
           (balloon->reporting ? 1ull << VIRTIO_BALLOON_F_REPORTING : 0);
}

static void balloon_config_read(struct virtio_device *device, uint64_t offset, uint8_t *data,
                                size_t size)
{
    const struct balloon *balloon = from_device(device);
    const uint32_t config[] = {balloon->target_pages, balloon->actual_pages};

    virtio_config_read(config, sizeof(config), offset, data, size);
}

/* `actual` is the driver's to write, the rest is not (5.5.4). */
static void balloon_config_write(struct virtio_device *device, uint64_t offset, const uint8_t *data,
                                 size_t size)
{
    struct balloon *balloon = from_device(device);
    const uint64_t start = offsetof(struct virtio_balloon_config, actual);

    if (offset >= start)
        virtio_config_write(&balloon->actual_pages, sizeof(balloon->actual_pages), offset - start,
                            data, size);
}

/* 5.5.5.1: a driver that starts anew has nothing in the balloon. */
static void balloon_reset(struct virtio_device *device)
{
    from_device(device)->actual_pages = 0;
}

/* ---- save and load ---- */

static void balloon_save(const struct virtio_device *device, uint32_t slot,
                         struct state_writer *writer)
{
    const struct balloon *balloon = (const struct balloon *)device;
    struct balloon_state state = {.target_pages = balloon->target_pages,
                                  .actual_pages = balloon->actual_pages};

    state_put(writer, STATE_VIRTIO_BALLOON, slot, BALLOON_STATE_VERSION, &state, sizeof(state));
}

/* `actual` is the guest's word and may be any number. */
static int balloon_load(struct virtio_device *device, uint32_t slot,
                        const struct state_reader *reader, struct error *err)
{
    struct balloon *balloon = from_device(device);
    struct balloon_state state;

    int r = state_get(reader, STATE_VIRTIO_BALLOON, slot, BALLOON_STATE_VERSION, &state,
                      sizeof(state), err);
    if (r < 0)
        return r;
    if (state.target_pages > device->memory->size >> PAGE_SHIFT)
        return error_set(err, ERROR_CORRUPT, EBADMSG,
                         "saved state of virtio balloon (device %u): the target is larger than "
                         "guest memory",
                         slot);
    balloon->target_pages = state.target_pages;
    balloon->actual_pages = state.actual_pages;
    return 0;
}

/* ---- life ---- */

static void balloon_destroy(struct virtio_device *device)
{
    free(from_device(device));
}

static const struct virtio_ops balloon_ops = {
    .name = "balloon",
    .device_id = VIRTIO_ID_BALLOON,
    .queue_count = QUEUE_COUNT,
    .features = balloon_features,
    .config_read = balloon_config_read,
    .config_write = balloon_config_write,
    .reset = balloon_reset,
    .notify = balloon_notify,
    .save = balloon_save,
    .load = balloon_load,
    .destroy = balloon_destroy,
};

static int set_target(struct balloon *balloon, uint32_t amount_mib, struct error *err)
{
    uint64_t memory_mib = balloon->device.memory->size >> 20;

    if (amount_mib > memory_mib)
        return error_set(err, ERROR_INVALID, EINVAL,
                         "balloon of %u MiB is larger than the guest's memory of %llu MiB",
                         amount_mib, (unsigned long long)memory_mib);
    uint64_t pages = (uint64_t)amount_mib * PAGES_PER_MIB;
    if (pages > UINT32_MAX)
        return error_set(err, ERROR_INVALID, EINVAL, "balloon of %u MiB is too large", amount_mib);
    balloon->target_pages = (uint32_t)pages;
    return 0;
}

struct virtio_device *virtio_balloon_create(const struct balloon_config *config,
                                            struct guest_memory *memory, struct loop *loop,
                                            struct error *err)
{
    _cleanup_(free) struct balloon *balloon = calloc(1, sizeof(*balloon));

    if (!balloon) {
        error_errno(err, ENOMEM, NULL, "create the balloon device");
        return NULL;
    }
    virtio_device_init(&balloon->device, &balloon_ops, memory, loop);
    balloon->deflate_on_oom = config->deflate_on_oom;
    balloon->reporting = config->free_page_reporting;
    if (set_target(balloon, config->amount_mib, err) < 0)
        return NULL;
    return &TAKE_PTR(balloon)->device;
}

int virtio_balloon_set_target(struct virtio_device *device, uint32_t amount_mib, struct error *err)
{
    int r = set_target(from_device(device), amount_mib, err);

    if (r < 0)
        return r;
    if (virtio_device_active(device))
        virtio_signal_config(device);
    return 0;
}

uint32_t virtio_balloon_actual_mib(const struct virtio_device *device)
{
    return ((const struct balloon *)device)->actual_pages / PAGES_PER_MIB;
}
