/* SPDX-License-Identifier: Apache-2.0 */
/* Making ext4 file systems in files, with mke2fs of e2fsprogs. */
#ifndef TINE_IMAGE_EXT4_H
#define TINE_IMAGE_EXT4_H

#include <stdbool.h>
#include <stdint.h>

#include "base/error.h"

#define EXT4_BLOCK 4096u

/* Makes the file `name` in `dirfd`, sparse, which must not exist, with the file system of a tree:
 * owners, modes, times, extended attributes and hard links are kept. It is as large as it needs to
 * be for so many blocks and inodes, has no journal, as it is to be read only, and the same UUID
 * whenever it is made. Not synced. After a failure nothing is left. ERROR_UNSUPPORTED: there is no
 * mke2fs. */
struct ext4_content {
    int tree; /* the directory */
    uint64_t blocks, inodes;
};
int ext4_make_image(int dirfd, const char *name, const struct ext4_content *content,
                    struct error *err);

/* The same, empty, `size` bytes large, with a journal and a UUID of its own, to be written. What is
 * empty in it is a hole. */
int ext4_make_empty(int dirfd, const char *name, uint64_t size, struct error *err);

#endif
