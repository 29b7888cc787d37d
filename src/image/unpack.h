/* SPDX-License-Identifier: Apache-2.0 */
#ifndef TINE_IMAGE_UNPACK_H
#define TINE_IMAGE_UNPACK_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/error.h"

struct unpack_limits {
    uint64_t bytes;  /* of all files together, holes included */
    uint64_t inodes; /* files, directories and links, those that a path only implies among them */
};

/* What the tree needs of a file system. */
struct unpack_totals {
    uint64_t bytes, blocks, inodes; /* blocks of UNPACK_BLOCK bytes */
    uint64_t devices_skipped;       /* that this process may not make */
};
#define UNPACK_BLOCK 4096u

struct unpack {
    int source;                  /* the archive: a stream */
    const atomic_bool *complete; /* its end, once it is seen, is the end that was meant */
    int directory;               /* empty; where the tree goes */
    struct unpack_limits limits;
    struct unpack_totals totals; /* the result */
};

/* Unpacks a tar, plain or in gzip, zstd or xz, as it is: owners, modes, times, extended attributes,
 * ACLs, hard links, holes. To be called by a thread of its own, which is good for nothing else
 * afterwards: its working directory, umask and root directory (where this process may) become the
 * tree's, so that no name leads out of it.
 *
 * The archive is hostile: ERROR_INVALID for what is no such archive or is cut off, for names that
 * are absolute or have "..", for anything that would be written through a symbolic link, for hard
 * links to what isn't in the tree, and above the limits. The message names the entry. */
int tree_unpack(struct unpack *unpack, struct error *err);

#endif
