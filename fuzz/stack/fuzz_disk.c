/* SPDX-License-Identifier: Apache-2.0 */
/* A hostile layer of a disk: what is accepted says of each block one thing, counts what it says,
 * and can be written on and read again. The first byte says whether the checksums are put right
 * first, since no fuzzer finds those. */
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/file.h"
#include "base/log.h"
#include "stack/disk_below.h"
#include "stack/disk_layer.h"
#include "stack/layer_format.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define SEAL       1u
#define IMAGE_SIZE ((33ull << 20) + 512) /* two regions, and a block in part */

/* Header and map come from the input, in few bytes: each four of them change one field or word. */
static void change(uint8_t *file, size_t length, const uint8_t *data, size_t size)
{
    for (size_t i = 0; i + 4 <= size; i += 4) {
        size_t at = (size_t)(data[i] | data[i + 1] << 8) * 2 % length;
        file[at] = data[i + 2];
        file[(at + 1) % length] = data[i + 3];
    }
}

static void seal(uint8_t *file, const struct disk_layout *layout)
{
    for (unsigned slot = 0; slot < 2; slot++) {
        struct disk_header *header =
            (struct disk_header *)(void *)(file + slot * layout->header_size);
        header->checksum = 0;
        header->checksum = layer_checksum(header, layout->header_size);
    }
    for (uint32_t i = 0; i < 2 * layout->regions; i++) {
        struct disk_region_page *page =
            (struct disk_region_page *)(void *)(file + layout->map_offset +
                                                (size_t)i * DISK_BLOCK_SIZE);
        if (page->layer_id != 0)
            page->checksum = layer_checksum(
                &page->layer_id, sizeof(*page) - offsetof(struct disk_region_page, layer_id));
    }
}

/* A layer that holds something, of which the input spoils what it likes. */
static void begin(int fd)
{
    const struct disk_header like = {.image_size = IMAGE_SIZE, .id = 7};
    struct disk_layer layer;
    if (disk_layer_create(&layer, dup(fd), "disk", &like, NULL) < 0 ||
        disk_map_prepare(&layer.map, 0, layer.layout.blocks) < 0)
        abort();
    disk_map_set(&layer.map, 3, 70, DISK_DATA);
    disk_map_set(&layer.map, 40, 9000, DISK_ZERO);
    if (disk_layer_flush(&layer) < 0)
        abort();
    disk_layer_close(&layer);
}

static void walk(struct disk_layer *layer)
{
    uint64_t data = 0, zero = 0;
    for (uint64_t block = 0; block < layer->layout.blocks;) {
        struct disk_run run = disk_map_find(&layer->map, block);
        if (run.block != block || run.count == 0 || run.count > layer->layout.blocks - block)
            abort();
        data += run.kind == DISK_DATA ? run.count : 0;
        zero += run.kind == DISK_ZERO ? run.count : 0;
        block += run.count;
    }
    if (data != layer->map.data_blocks || zero != layer->map.zero_blocks)
        abort();
}

/* Laid over a base it says the same. */
static void lay(struct disk_layer *layer)
{
    struct disk_below below;
    if (disk_below_init(&below, -1, layer->layout.blocks, NULL) < 0 ||
        disk_below_add(&below, layer, NULL) < 0)
        abort();
    for (uint64_t block = 0; block < layer->layout.blocks;) {
        struct disk_below_found found = disk_below_find(&below, block);
        struct disk_run run = disk_map_find(&layer->map, block);
        enum disk_kind kind = found.zero ? DISK_ZERO : found.layer ? DISK_DATA : DISK_ABSENT;
        if (found.count != run.count || kind != run.kind)
            abort();
        block += found.count;
    }
    disk_below_close(&below);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    const struct disk_layout layout = disk_layout(IMAGE_SIZE);
    struct disk_layer layer;
    struct error err = {0};
    if (size < 1)
        return 0;
    log_configure("fuzz", LOG_LEVEL_ERROR, STDERR_FILENO);
    _cleanup_(close) int fd = memfd_create("disk", MFD_CLOEXEC);
    if (fd < 0)
        abort();
    begin(fd);
    uint8_t *file = mmap(NULL, layout.data_offset, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    if (file == MAP_FAILED)
        abort();
    change(file, layout.data_offset, data + 1, size - 1);
    if (data[0] & SEAL)
        seal(file, &layout);
    munmap(file, layout.data_offset);
    if (disk_layer_open_fd(&layer, dup(fd), "disk", IMAGE_SIZE, &err) < 0) {
        if (err.errnum == 0)
            abort();
        return 0;
    }
    walk(&layer);
    if (disk_layer_flush(&layer) < 0)
        abort();
    lay(&layer);
    disk_layer_close(&layer);
    return 0;
}
