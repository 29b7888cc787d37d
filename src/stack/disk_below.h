/* SPDX-License-Identifier: Apache-2.0 */
/* Inside src/stack: what lies below the writable top of a disk. The sealed layers are laid over one
 * another once, so that a look-up is the same whatever the depth. */
#ifndef TINE_STACK_DISK_BELOW_H
#define TINE_STACK_DISK_BELOW_H

#include "base/error.h"
#include "stack/disk_layer.h"
#include "stack/disk_stack.h"

struct disk_below_run {
    uint16_t first; /* block of the region; the run goes on to the next one's */
    uint8_t layer;  /* 0: the base, else as they were laid, from 1 on; with `zero`: none */
    uint8_t zero;
};

struct disk_below_region {
    unsigned count;
    struct disk_below_run runs[];
};

struct disk_below {
    uint64_t blocks;
    uint32_t region_count;
    struct disk_below_region **regions; /* NULL: all of it is the base's */
    unsigned depth;
    struct {
        int fd;
        uint64_t data_offset;
    } layers[DISK_STACK_LIMIT + 1]; /* [0]: the base */
};

/* Blocks that follow one another and come from one place. */
struct disk_below_found {
    uint64_t count;
    bool zero;
    unsigned layer;
};

/* `base` (owner: the result, after a failure too) has so many blocks. */
int disk_below_init(struct disk_below *below, int base, uint64_t blocks, struct error *err);
void disk_below_close(struct disk_below *below);
static inline void cleanup_disk_below(struct disk_below *below)
{
    disk_below_close(below);
}
/* Lays a layer over all that is there, and takes its descriptor over. -EMLINK if it is one too
 * many; then, and after any failure, nothing has changed. */
int disk_below_add(struct disk_below *below, struct disk_layer *layer, struct error *err);
/* `block` and those behind it, up to the end of its region. */
struct disk_below_found disk_below_find(const struct disk_below *below, uint64_t block);

#endif
