/* SPDX-License-Identifier: Apache-2.0 */
#include "stack/disk_layer.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <sys/stat.h>

#include "base/cleanup.h"
#include "base/failpoint.h"
#include "base/log.h"
#include "stack/disk_header.h"
#include "stack/disk_regions.h"
#include "stack/image.h"

void disk_layer_close(struct disk_layer *layer)
{
    cleanup_close(&layer->fd);
    free(layer->label);
    free(layer->header);
    disk_map_free(&layer->map);
    *layer = (struct disk_layer)DISK_LAYER_NONE;
}

/* Owns `fd` from here on. */
static int begin(struct disk_layer *layer, int fd, const char *label, uint64_t image_size,
                 struct error *err)
{
    *layer = (struct disk_layer){.fd = fd, .label = strdup(label)};
    if (!layer->label)
        return error_errno(err, ENOMEM, label, "open %s", label);
    if (image_size == 0 || image_size > DISK_IMAGE_LIMIT)
        return error_set(err, ERROR_INVALID, EINVAL, "%s: a disk of %llu bytes can't have layers",
                         label, (unsigned long long)image_size);
    layer->layout = disk_layout(image_size);
    return 0;
}

/* ---- opening: nothing is trusted before it is checked ---- */

static int size_check(const struct disk_layer *layer, struct error *err)
{
    struct stat st;
    if (fstat(layer->fd, &st) < 0)
        return error_errno(err, errno, layer->label, "stat %s", layer->label);
    if ((uint64_t)st.st_size != layer->layout.file_size)
        return error_set(err, ERROR_CORRUPT, EBADMSG,
                         "%s has %llu bytes, a layer of its disk has %llu", layer->label,
                         (unsigned long long)st.st_size,
                         (unsigned long long)layer->layout.file_size);
    return 0;
}

static int map_read(struct disk_layer *layer, struct error *err)
{
    unsigned cured = 0;
    if (disk_map_init(&layer->map, layer->layout.blocks) < 0)
        return error_errno(err, ENOMEM, layer->label, "open %s", layer->label);
    int r = disk_regions_read(layer, &cured, err);
    if (r < 0)
        return r;
    if (layer->header->sealed && layer->header->map_checksum != disk_regions_checksum(layer))
        return error_set(err, ERROR_CORRUPT, EBADMSG,
                         "%s is damaged: its map is not the one that was sealed", layer->label);
    if (cured > 0)
        log_warning("%s: %u pages of its map were torn as they were written, and are what they "
                    "were before",
                    layer->label, cured);
    return 0;
}

int disk_layer_open_fd(struct disk_layer *layer, int fd, const char *label, uint64_t image_size,
                       struct error *err)
{
    int r = begin(layer, fd, label, image_size, err);
    if (r == 0)
        r = size_check(layer, err);
    if (r == 0)
        r = disk_header_read(layer, image_size, err);
    if (r == 0)
        r = map_read(layer, err);
    if (r < 0)
        disk_layer_close(layer);
    return r;
}

int disk_layer_open(struct disk_layer *layer, const struct stack_file *file, int flags,
                    uint64_t image_size, struct error *err)
{
    struct stat st;
    int fd = image_open(file, flags, &st, err);
    return fd < 0 ? fd : disk_layer_open_fd(layer, fd, image_label(file), image_size, err);
}

int disk_layer_peek(const struct stack_file *file, uint64_t image_size, struct disk_header *header,
                    struct error *err)
{
    _cleanup_(disk_layer) struct disk_layer layer = DISK_LAYER_NONE;
    struct stat st;
    int fd = image_open(file, O_RDONLY, &st, err);
    int r = fd < 0 ? fd : begin(&layer, fd, image_label(file), image_size, err);
    if (r == 0)
        r = size_check(&layer, err);
    if (r == 0)
        r = disk_header_read(&layer, image_size, err);
    if (r == 0)
        *header = *layer.header;
    return r;
}

/* ---- writing ---- */

/* A failure is remembered: the kernel takes what it could not write for written. */
static int sync_data(struct disk_layer *layer)
{
    int r = failpoint("disk-sync");
    while (r == 0 && fdatasync(layer->fd) < 0) {
        if (errno != EINTR)
            r = -errno;
    }
    if (r < 0)
        layer->failed = -r;
    return r;
}

int disk_layer_flush(struct disk_layer *layer)
{
    if (layer->failed)
        return -layer->failed;
    int r = sync_data(layer);
    if (r < 0 || layer->map.dirty_end == 0)
        return r;
    r = disk_regions_write(layer);
    if (r == 0 && layer->header_dirty)
        r = disk_header_write(layer);
    if (r == 0)
        r = failpoint("disk-map-written");
    if (r == 0)
        r = sync_data(layer);
    if (r == 0)
        disk_regions_commit(layer);
    return r;
}

int disk_layer_mark(struct disk_layer *layer, bool sealed, struct error *err)
{
    const struct disk_header before = *layer->header;
    int r = disk_layer_flush(layer);
    if (r == 0) {
        layer->header->sealed = sealed;
        layer->header->map_checksum = sealed ? disk_regions_checksum(layer) : 0;
        r = disk_header_write(layer);
        if (r < 0)
            *layer->header = before;
    }
    if (r == 0)
        r = sync_data(layer);
    return r < 0 ? error_errno(err, -r, layer->label, "%s %s", sealed ? "seal" : "unseal",
                               layer->label)
                 : 0;
}

static int fill(struct disk_layer *layer, const struct disk_header *like, struct error *err)
{
    struct disk_header *header = calloc(1, layer->layout.header_size);
    layer->header = header;
    layer->header_slot = 1; /* the first one is written to the other place */
    if (!header || disk_map_init(&layer->map, layer->layout.blocks) < 0)
        return error_errno(err, ENOMEM, layer->label, "make %s", layer->label);
    *header = (struct disk_header){.format = DISK_FORMAT,
                                   .block_size = DISK_BLOCK_SIZE,
                                   .image_size = like->image_size,
                                   .id = like->id,
                                   .below = like->below,
                                   .below_id = like->below_id};
    memcpy(header->magic, DISK_MAGIC, sizeof(header->magic));
    while (header->id == 0) {
        if (getrandom(&header->id, sizeof(header->id), 0) < 0 && errno != EINTR)
            return error_errno(err, errno, layer->label, "make %s", layer->label);
    }
    if (ftruncate(layer->fd, (off_t)layer->layout.file_size) < 0)
        return error_errno(err, errno, layer->label, "make %s", layer->label);
    int r = disk_header_write(layer);
    if (r == 0 && fsync(layer->fd) < 0)
        r = -errno;
    return r < 0 ? error_errno(err, -r, layer->label, "make %s", layer->label) : 0;
}

int disk_layer_create(struct disk_layer *layer, int fd, const char *label,
                      const struct disk_header *like, struct error *err)
{
    int r = begin(layer, fd, label, like->image_size, err);
    if (r == 0)
        r = fill(layer, like, err);
    if (r < 0)
        disk_layer_close(layer);
    return r;
}
