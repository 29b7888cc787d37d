/* SPDX-License-Identifier: Apache-2.0 */
/* A writable disk as a stack: a raw base, sealed layers over it, and one top that is written. All
 * but the top is immutable and shared by link, so a disk is forked by links and a new, empty top.
 *
 * Beside the base "0.img" lie "0.img.1", "0.img.4", ... and "0.img.top". Each layer's header names
 * the one below by number and id, so a stack is found from its top down; files of other numbers are
 * no part of it. A disk without a top is none: it is one raw file that is written itself. */
#ifndef TINE_STACK_DISK_STACK_H
#define TINE_STACK_DISK_STACK_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/uio.h>

#include "base/error.h"
#include "stack/stack.h"

/* ---- one that is in use ---- */

struct disk_stack;

/* Opens base, layers and top. ERROR_CORRUPT if one is damaged, missing, or not of this stack.
 * `writable`: the top must have one name (-EMLINK), and a sealing that was interrupted is finished.
 * One thread at a time uses it. Memory: less than a thousandth of the disk, and little for what is
 * not written. */
struct disk_stack *disk_stack_open(const struct stack_file *base, bool writable, struct error *err);
/* What was not flushed is as good as not written. */
void disk_stack_close(struct disk_stack *stack);
static inline void cleanup_disk_stack(struct disk_stack **stack)
{
    disk_stack_close(*stack);
}

uint64_t disk_stack_size(const struct disk_stack *stack); /* bytes */

/* Offsets and lengths are bytes and lie inside the disk; the caller has checked that. Each returns
 * 0 or a negative errno. Read and write use the vector up and add what was moved to `*done`. */
int disk_stack_read(struct disk_stack *stack, struct iovec *buffers, unsigned count,
                    uint64_t offset, uint64_t *done);
int disk_stack_write(struct disk_stack *stack, struct iovec *buffers, unsigned count,
                     uint64_t offset, uint64_t *done);
/* The range reads as zeros, whatever lies below; of blocks of which a part alone is discarded,
 * nothing changes. Room is given back where that is possible. */
int disk_stack_discard(struct disk_stack *stack, uint64_t offset, uint64_t length);
/* The range reads as zeros; without `unmap` its room is kept for what is written next. */
int disk_stack_zero(struct disk_stack *stack, uint64_t offset, uint64_t length, bool unmap);
/* What was written, discarded and zeroed before survives the end of this process and a power cut;
 * what was not flushed may be lost, sector by sector, and is never anything else than what was
 * there or was written. A failure to sync stays one. */
int disk_stack_flush(struct disk_stack *stack);

/* Whoever has a stack sealed compacts it before it gets more layers than that: as long as that is
 * done, one that stays in use can be sealed as often as one likes. */
#define DISK_STACK_DEEP  16u
#define DISK_STACK_LIMIT 32u /* sealed layers over a base */

/* Flushes the top and makes it a sealed layer, which forks can link, with a new top over it. If it
 * holds nothing there is nothing to do. After a failure the old top is in use, or the new one; if
 * that can't be had, writes fail from then on. -EMLINK if there are too many layers; where others
 * have compacted them meanwhile, that is taken note of first. */
int disk_stack_seal(struct disk_stack *stack, struct error *err);

/* ---- its files; nobody has the top open ---- */

#define DISK_TOP 0u /* the number that stands for the top */
/* "<base>.<number>", or "<base>.top". Owner: caller; NULL when out of memory. */
char *disk_stack_name(const char *base, unsigned number);

/* What a stack is made of, from the top down. */
struct disk_chain {
    bool stack;          /* there is a top; else there is a base alone, and `count` is 0 */
    bool frozen;         /* nothing is to be sealed before it is forked: the top holds nothing */
    uint64_t image_size; /* bytes */
    unsigned count;      /* sealed layers */
    struct disk_chain_layer {
        unsigned number;
        uint64_t id;
        uint64_t data_blocks, zero_blocks; /* of 4 KiB, that it holds */
    } layers[DISK_STACK_LIMIT];
};
int disk_chain_find(const struct stack_file *base, struct disk_chain *chain, struct error *err);

/* Makes sure that the disk can be forked: a base without a top gets one, and is never written
 * again; a top that holds something is sealed. */
int disk_freeze(const struct stack_file *base, struct error *err);
/* Gives `to`, another base name, its own links to all files of a frozen stack, or to a base alone
 * that is never written again, and a new top.
 * `result` is of the base; bytes_copied and link_count sum up all. After a failure some may be
 * there. */
int disk_share(const struct stack_file *base, const struct stack_file *to,
               struct stack_result *result, struct error *err);
/* Makes one raw image of all of the stack, the top too, or of a base alone: `to`, which must not
 * exist and is published whole. A reflink of the base, else a sparse copy, and the layers over it.
 */
int disk_flatten(const struct stack_file *base, const struct stack_file *to,
                 struct stack_result *result, struct error *err);
/* Makes one layer of all the sealed ones, by one rename, and removes those: who has them open, or
 * has names of his own for them, is not disturbed. The base stays, and the top, which may even be
 * in use. */
int disk_compact(const struct stack_file *base, struct error *err);

#endif
