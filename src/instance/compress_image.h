/* SPDX-License-Identifier: Apache-2.0 */
/* What the compressor does with one memory image, step by step. */
#ifndef TINE_INSTANCE_COMPRESS_IMAGE_H
#define TINE_INSTANCE_COMPRESS_IMAGE_H

#include "instance/owner.h"
#include "stack/compression.h"

struct compress_image {
    char id[INSTANCE_ID_LENGTH + 1]; /* of the owner */
    bool of_snapshot;
    struct stack_compression how;
    struct stack_task task;
    int dir; /* the owner's snapshot/, while it works */
    struct stack_packing packing;
    uint64_t started_ns;
};

int compress_image_init(const struct host *host, struct compress_image *image,
                        const struct owner *owner, const char *compression, struct error *err);
/* True unless the raw image is known to have other owners. */
bool compress_image_is_alone(const struct owner *owner);

/* The long part, without a lock. Errors are those of stack_pack(). */
int compress_image_make(struct host *host, struct compress_image *image, struct error *err);
/* The compressed image takes the place of the raw one, if nothing has changed. -EBUSY, without a
 * message: somebody holds the owner; else the errors of stack_pack_publish(), -ENOENT if there is
 * no such owner any more, -ESTALE if it does not sleep any more, -ECANCELED. */
int compress_image_publish(struct host *host, struct compress_image *image, struct error *err);
/* Lets go of everything, and counts and tells how it ended. */
void compress_image_end(struct host *host, struct compress_image *image, int r,
                        const struct error *err);

#endif
