/* SPDX-License-Identifier: Apache-2.0 */
/* The host's side of a drive: a regular file or a block device, or a stack of files, read and
 * written synchronously.
 * Offsets and lengths are bytes and lie inside the file; the caller has checked that. */
#ifndef TINE_VMM_DEVICES_BLOCK_FILE_H
#define TINE_VMM_DEVICES_BLOCK_FILE_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/uio.h>

#include "base/error.h"

#define SECTOR_SIZE 512u

struct disk_stack;

struct block_file {
    int fd; /* -1: it is a stack */
    struct disk_stack *stack;
    bool read_only;
    uint64_t sectors; /* size in 512-byte sectors, rounded down */
    char *path;       /* for messages */
};

/* What to open. */
struct block_source {
    const char *drive_id, *path;
    bool read_only;
    bool stack; /* `path` is the base of one */
};
/* -EMLINK, with the count in the message, for a writable file with more than one link (R2). On
 * failure `file` is untouched. */
int block_file_open(struct block_file *file, const struct block_source *source, struct error *err);
/* What was not flushed of a stack is as good as not written. */
void block_file_close(struct block_file *file);

/* Fill the buffers from the file, or write them to it, as a whole; the vector is used up. A file
 * that ends too early is -EIO. `*done` counts the bytes that were moved, on failure too. */
int block_file_read(const struct block_file *file, struct iovec *buffers, unsigned count,
                    uint64_t offset, uint64_t *done);
int block_file_write(const struct block_file *file, struct iovec *buffers, unsigned count,
                     uint64_t offset, uint64_t *done);
/* What was written before survives a power cut afterwards. */
int block_file_flush(const struct block_file *file);
/* The content of the range does not matter any more: its space is given back where that is
 * possible. */
int block_file_discard(const struct block_file *file, uint64_t offset, uint64_t length);
/* The range reads as zeros afterwards; `unmap` gives its space back where possible, otherwise it
 * keeps it. */
int block_file_zero(const struct block_file *file, uint64_t offset, uint64_t length, bool unmap);

#endif
