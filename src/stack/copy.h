/* SPDX-License-Identifier: Apache-2.0 */
/* Inside src/stack: making a private copy of an image under a temporary name, then publishing it
 * whole (R3). */
#ifndef TINE_STACK_COPY_H
#define TINE_STACK_COPY_H

#include <stdbool.h>
#include <stdint.h>

#include "stack/stack.h"

/* A half-made file. Declared as `_cleanup_(temporary) struct temporary t = {.dirfd = -1};` it is
 * unlinked when the scope is left before copy_publish() took it. */
struct temporary {
    int dirfd;
    char *name; /* NULL: nothing to unlink */
};
void cleanup_temporary(struct temporary *temporary);

/* Makes an empty file under a temporary name of `to`'s and opens it for writing (owner: caller). */
int temporary_create(const struct stack_file *to, mode_t mode, struct temporary *temporary,
                     struct error *err);

enum copy_means {
    COPY_ANY,     /* reflink, else sparse copy */
    COPY_REFLINK, /* ERROR_UNSUPPORTED, -EOPNOTSUPP, where these files can't be reflinked */
};

/* Copies `from` to a fresh temporary name beside `to`; mode and modification time are the source's;
 * synced. Sets `method` and adds to `bytes_copied`. A source that changes meanwhile is -EBUSY. */
int copy_make(const struct stack_file *from, const struct stack_file *to, enum copy_means means,
              struct temporary *temporary, struct stack_result *result, struct error *err);

/* How a finished temporary gets its name. */
struct copy_publication {
    bool replace;              /* rename over what is there; else it must not exist */
    const char *before_rename; /* failpoints */
    const char *after_rename;
};

/* Renames the temporary to `to` and syncs the directory. When that fails nothing is left of a new
 * name; with `replace`, either the old or the new file is there, whole. */
int copy_publish(const struct stack_file *to, struct temporary *temporary,
                 const struct copy_publication *how, struct error *err);

/* FICLONE of `in` into the empty file `out`: 1 cloned, 0 this pair of files can't be reflinked,
 * negative errno when it failed for another reason. */
int reflink(int in, int out, const struct stack_file *from, const struct stack_file *to,
            struct error *err);

/* Copies the data extents of `in` (`size` bytes) into the empty file `out`, keeping holes and
 * leaving out blocks that are all zero; adds the bytes written to `*copied`. Uses a buffer of fixed
 * size. ERROR_UNSUPPORTED if either file system has no sparse files. */
int sparse_copy(int in, int out, uint64_t size, const struct stack_file *from,
                const struct stack_file *to, uint64_t *copied, struct error *err);

/* Finds the extent of data at or behind `*start` in a file of `size` bytes: 1 found, 0 there is
 * only a hole up to the end, or a negative errno: EINVAL and EOPNOTSUPP where that can't be told.
 */
int sparse_next_extent(int fd, uint64_t size, uint64_t *start, uint64_t *end);

/* Writes what is not zero of the bytes, in whole blocks of the file where it can, at `offset` of a
 * file that is a hole there; adds what it wrote to `*written`. */
int sparse_write(int fd, const uint8_t *bytes, size_t length, uint64_t offset, const char *label,
                 uint64_t *written, struct error *err);

/* Of at least one byte. */
bool bytes_are_zero(const uint8_t *bytes, size_t length);

#endif
