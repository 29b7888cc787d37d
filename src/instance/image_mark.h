/* SPDX-License-Identifier: Apache-2.0 */
/* Inside the room: which image somebody sleeps with, told by the inode of its state. Whoever shares
 * an image links that file, nobody writes it, and a compaction or a compression, which change the
 * memory's files and not what is in them, leave it as it is. */
#ifndef TINE_INSTANCE_IMAGE_MARK_H
#define TINE_INSTANCE_IMAGE_MARK_H

#include <sys/types.h>

#include "base/error.h"

struct image_mark {
    int fd; /* keeps the inode from becoming another file's; -1: no image */
    dev_t device;
    ino_t inode;
};
/* clang-format off */ /* its versions differ on braces in macros */
#define IMAGE_MARK_NONE {.fd = -1}
/* clang-format on */

/* Of the state at `path` in `dirfd`. */
int image_mark_take(int dirfd, const char *path, struct image_mark *mark, struct error *err);
/* Harmless on IMAGE_MARK_NONE, which it is then. */
void image_mark_drop(struct image_mark *mark);

enum image_found {
    IMAGE_NONE,  /* there is no state: nothing sleeps there */
    IMAGE_SAME,  /* it is the marked one */
    IMAGE_OTHER, /* there is one, and nothing is marked, or another */
};
/* One of these, or a negative errno. */
int image_mark_compare(const struct image_mark *mark, int dirfd, const char *path,
                       struct error *err);

#endif
