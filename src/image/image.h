/* SPDX-License-Identifier: Apache-2.0 */
/* Images: what instances are made from. There is the guest kit, and what was imported: a root file
 * system as one immutable disk, images/<id>.img in the data directory. Safe from any thread.
 */
#ifndef TINE_IMAGE_IMAGE_H
#define TINE_IMAGE_IMAGE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/error.h"
#include "image/program.h"
#include "stack/stack.h"
#include "store/store.h"

#define IMAGE_KIT          "tine/guest:latest"
#define IMAGE_BYTES_LIMIT  (64ull << 30) /* of an image's content, unless its import says more */
#define IMAGE_INODES_LIMIT (2ull << 20)

struct image_store;

/* `kit_dir` (vmlinux, initrd.img; NULL: none) is copied, `store` is borrowed. Makes images/ in the
 * data directory, removes what is half-made in it, and rows whose disk is not there. */
struct image_store *image_store_open(const char *kit_dir, const char *data_dir, struct store *store,
                                     struct error *err);
void image_store_close(struct image_store *images);

/* All images, the guest kit first; owner: caller (free()). */
int image_list(struct image_store *images, struct image **list, size_t *count, struct error *err);
/* By any spelling of its name (reference.h), or by name and digest. ERROR_INVALID: that is no image
 * reference; ERROR_NOT_FOUND: it is not here. */
int image_get(struct image_store *images, const char *reference, struct image *image,
              struct error *err);
/* Instances and snapshots made from it have links of their own to its disk. ERROR_UNSUPPORTED: it
 * is the guest kit. */
int image_delete(struct image_store *images, const char *reference, struct error *err);

/* Gives `to` a name for the image's disk, as stack_share() does: to be read only. ERROR_NOT_FOUND
 * if it was deleted meanwhile. */
int image_share(struct image_store *images, const struct image *image, const struct stack_file *to,
                struct stack_result *result, struct error *err);

struct image_import_request {
    const char *name; /* any spelling, without a digest */
    struct program_request program;
    const char *tags;                   /* as in struct image; NULL: none */
    uint64_t bytes_limit, inodes_limit; /* 0: the defaults above */
};

/* Makes an image of a tar (plain or in gzip, zstd or xz) that comes piece by piece. Nothing is seen
 * of it until it is finished; what a crash leaves is swept by image_store_open(). Begin: ERROR_NAME
 * if there is an image of that name, ERROR_INVALID for a name that is none. */
struct image_import;
int image_import_begin(struct image_store *images, const struct image_import_request *request,
                       struct image_import **import, struct error *err);
/* Waits until the piece is taken. False: no more is wanted, as the import has failed or has seen
 * the archive's end. */
bool image_import_feed(struct image_import *import, const void *data, size_t length);
/* The archive has ended: the image, or why there is none (unpack.h; ERROR_NAME: somebody else was
 * quicker; ERROR_RESOURCES: the disk is full). Takes `import`. */
int image_import_finish(struct image_import *import, struct image *image, struct error *err);
/* Gives up. NULL is nothing. */
void image_import_cancel(struct image_import *import);

#endif
