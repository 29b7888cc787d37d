/* SPDX-License-Identifier: Apache-2.0 */
/* Disks and what each must hold, sector by sector, as a reference in memory. A sector is one number
 * all over; 0 is zeros. Only some windows of a disk are ever touched: its ends, and where two
 * regions of the map meet. */
#ifndef TINE_TESTS_STACK_DISK_MODEL_H
#define TINE_TESTS_STACK_DISK_MODEL_H

#include <stdbool.h>
#include <stdint.h>

#include "stack/disk_stack.h"

#define DISK_SECTOR  512u
#define DISK_SECTORS (65536u + 2051u) /* of 512 bytes: a region, and an odd end */
#define DISK_WINDOW  256u             /* sectors */
#define DISK_WINDOWS 3u

/* Sectors that may hold other things than `durable` says: what was written since the last flush. */
struct disk_since {
    unsigned sector;
    uint32_t token;
};

struct disk_model {
    uint32_t now[DISK_WINDOWS * DISK_WINDOW];     /* what is read */
    uint32_t durable[DISK_WINDOWS * DISK_WINDOW]; /* as of the last flush */
    struct disk_since *since;
    unsigned since_count, since_room;
};

/* Where the n-th sector of the model lies. */
unsigned disk_model_sector(unsigned index);
/* A raw base with such content, and a model of it. */
void disk_model_base(int dirfd, const char *name, struct disk_model *model);
void disk_model_free(struct disk_model *model);

/* Notes what was done to `count` sectors of the model; token 0: zeros. */
void disk_model_set(struct disk_model *model, unsigned index, unsigned count, uint32_t token);
void disk_model_flushed(struct disk_model *model);

/* Does it to a stack, and to its model. */
void disk_write(struct disk_stack *stack, struct disk_model *model, unsigned index, unsigned count,
                uint32_t token);

/* Fails unless every sector is what is read now. */
void disk_model_assert(struct disk_stack *stack, const struct disk_model *model);
/* Fails unless every sector is what was flushed last, or was written since; and takes that. */
void disk_model_take(struct disk_stack *stack, struct disk_model *model);
/* Of a raw file. */
void disk_model_assert_flat(int dirfd, const char *name, const struct disk_model *model);

struct disk_stack *disk_open_good(int dirfd, const char *name, bool writable);

#endif
