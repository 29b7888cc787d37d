/* SPDX-License-Identifier: Apache-2.0 */
/* Inside src/stack: one file of a disk's stack: the writable top, or a sealed delta. It holds some
 * blocks of the disk, each at the place that it has in the disk, and a map that names them, zeros
 * among them; nothing is ever concluded from holes, which only save room.
 *
 * Data is durable before the map that names it: a power cut leaves of a block what was flushed
 * last, or something written since, and never the zeros of a hole. What the map says is written by
 * disk_layer_flush() alone; a layer that is not flushed says what it said before.
 *
 * A file is hostile input: all of header and map is checked before anybody looks at a block. */
#ifndef TINE_STACK_DISK_LAYER_H
#define TINE_STACK_DISK_LAYER_H

#include "base/error.h"
#include "stack/disk_format.h"
#include "stack/disk_map.h"
#include "stack/stack.h"

struct disk_layer {
    int fd; /* to be read, and of a layer that is open for writing, written */
    char *label;
    struct disk_layout layout;
    struct disk_header *header; /* with its bits: layout.header_size bytes */
    unsigned header_slot;       /* which of the two `header` is */
    bool header_dirty;
    struct disk_map map;
    int failed; /* a sync failed with this errno: what is in the file is not known any more */
};

#define DISK_LAYER_NONE \
    {                   \
        .fd = -1        \
    }

void disk_layer_close(struct disk_layer *layer);
static inline void cleanup_disk_layer(struct disk_layer *layer)
{
    disk_layer_close(layer);
}

/* Opens a layer of an image of `image_size` bytes; `flags` is an access mode. ERROR_CORRUPT says
 * what is wrong with it. Pages of the map that were torn are cured, with a warning, by what they
 * were before. */
int disk_layer_open(struct disk_layer *layer, const struct stack_file *file, int flags,
                    uint64_t image_size, struct error *err);
/* The same of a regular file that is open; the layer owns `fd`, after a failure too. */
int disk_layer_open_fd(struct disk_layer *layer, int fd, const char *label, uint64_t image_size,
                       struct error *err);
/* Reads and checks the header alone. */
int disk_layer_peek(const struct stack_file *file, uint64_t image_size, struct disk_header *header,
                    struct error *err);

/* Makes a layer that holds nothing in the empty file `fd` (owner: the layer, after a failure too),
 * and syncs it. Of `like` it has the size of the image, what lies below, and the id, where that is
 * not 0: else one by chance. */
int disk_layer_create(struct disk_layer *layer, int fd, const char *label,
                      const struct disk_header *like, struct error *err);

/* Where a block lies in the file. */
static inline uint64_t disk_layer_offset(const struct disk_layer *layer, uint64_t image_offset)
{
    return layer->layout.data_offset + image_offset;
}

/* What was written, and what the map says of it, survives a power cut afterwards. A failure is for
 * good: who asks again must not be told that all is well. Returns 0 or a negative errno. */
int disk_layer_flush(struct disk_layer *layer);
/* Writes, durably, that the layer is sealed, or that it is not; it is flushed. */
int disk_layer_mark(struct disk_layer *layer, bool sealed, struct error *err);

/* True if it says nothing of any block. */
static inline bool disk_header_empty(const struct disk_header *header)
{
    return header->data_blocks == 0 && header->zero_blocks == 0;
}

#endif
