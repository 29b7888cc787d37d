/* SPDX-License-Identifier: Apache-2.0 */
#include "stack/disk_header.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/file.h"
#include "stack/layer_format.h"

static uint64_t checksum_of(struct disk_header *header, size_t size)
{
    uint64_t stored = header->checksum;
    header->checksum = 0;
    uint64_t sum = layer_checksum(header, size);
    header->checksum = stored;
    return sum;
}

static uint8_t *bits_of(const struct disk_header *header)
{
    return (uint8_t *)(uintptr_t)(header + 1);
}

bool disk_header_has(const struct disk_header *header, uint32_t region)
{
    return (bits_of(header)[region / 8] >> (region % 8)) & 1;
}

void disk_header_add(struct disk_layer *layer, uint32_t region)
{
    bits_of(layer->header)[region / 8] |= (uint8_t)(1u << (region % 8));
    layer->header_dirty = true;
}

static int corrupt(const struct disk_layer *layer, const char *why, struct error *err)
{
    return error_set(err, ERROR_CORRUPT, EBADMSG, "%s is damaged: %s", layer->label, why);
}

/* Of a header whose checksum holds. With the counts in these bounds no sum of them overflows. */
static int header_check(const struct disk_layer *layer, uint64_t image_size, struct error *err)
{
    const struct disk_header *header = layer->header;
    if (header->block_size != DISK_BLOCK_SIZE)
        return corrupt(layer, "it has other blocks than its format", err);
    if (header->image_size != image_size)
        return error_set(err, ERROR_CORRUPT, EINVAL,
                         "%s is of a disk of %llu bytes, not of one of %llu", layer->label,
                         (unsigned long long)header->image_size, (unsigned long long)image_size);
    if (header->data_blocks > layer->layout.blocks ||
        header->zero_blocks > layer->layout.blocks - header->data_blocks)
        return corrupt(layer, "it holds more blocks than its disk has", err);
    if (header->sealed > 1 || (header->below == 0) != (header->below_id == 0))
        return corrupt(layer, "its header contradicts itself", err);
    return 0;
}

/* Takes the header at `slot` over if it is whole and later than what there is. */
static int slot_read(struct disk_layer *layer, unsigned slot, bool *newer_format, struct error *err)
{
    size_t size = layer->layout.header_size;
    _cleanup_(free) struct disk_header *header = calloc(1, size);
    if (!header)
        return error_errno(err, ENOMEM, layer->label, "open %s", layer->label);
    int r = file_pread_exact(layer->fd, header, size, slot * size, layer->label, err);
    if (r < 0 || memcmp(header->magic, DISK_MAGIC, sizeof(header->magic)) != 0)
        return r;
    *newer_format |= header->format != DISK_FORMAT;
    if (header->format != DISK_FORMAT || checksum_of(header, size) != header->checksum ||
        (layer->header && layer->header->generation >= header->generation))
        return 0;
    free(layer->header);
    layer->header = TAKE_PTR(header);
    layer->header_slot = slot;
    return 0;
}

int disk_header_read(struct disk_layer *layer, uint64_t image_size, struct error *err)
{
    bool newer_format = false;
    int r = slot_read(layer, 0, &newer_format, err);
    if (r == 0)
        r = slot_read(layer, 1, &newer_format, err);
    if (r < 0)
        return r;
    if (!layer->header && newer_format)
        return error_set(err, ERROR_CORRUPT, EBADMSG,
                         "%s is a disk layer of another format than this version reads, %u",
                         layer->label, DISK_FORMAT);
    if (!layer->header)
        return error_set(err, ERROR_CORRUPT, EBADMSG,
                         "%s is no disk layer, or of a disk of another size: no header holds",
                         layer->label);
    return header_check(layer, image_size, err);
}

int disk_header_write(struct disk_layer *layer)
{
    struct disk_header *header = layer->header;
    size_t size = layer->layout.header_size;
    unsigned slot = 1 - layer->header_slot;
    header->data_blocks = layer->map.data_blocks;
    header->zero_blocks = layer->map.zero_blocks;
    header->generation++;
    header->checksum = checksum_of(header, size);
    struct error err = {0};
    int r = file_pwrite_exact(layer->fd, header, size, slot * size, layer->label, &err);
    if (r == 0) {
        layer->header_slot = slot;
        layer->header_dirty = false;
    }
    return r;
}
