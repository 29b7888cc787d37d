/* SPDX-License-Identifier: Apache-2.0 */
/* Compressed images: an image that sleeps alone may be kept as one compressed file beside where its
 * raw one was, "memory.zst" or "memory.lz4" for "memory". Each is a row of frames of its format,
 * with raw sizes and checksums of the raw content, so the formats' own tools read it, and an index
 * of them, so that any part of it can be had without the rest (packed_image.h).
 *
 * At every moment at least one of the two is there, whole. Where both are (somebody died between
 * the two steps of a change), the raw one counts and stack_settle_packed() removes the other. Names
 * are given as that of the raw file. The caller holds the owner's lock for writing wherever names
 * change (R5); a raw file with other owners is never compressed, since that would gain nothing. */
#ifndef TINE_STACK_COMPRESSION_H
#define TINE_STACK_COMPRESSION_H

#include <stdatomic.h>
#include <stdbool.h>

#include "stack/stack.h"

enum stack_algorithm {
    STACK_ZSTD, /* levels 1 to 19, default 1 */
    STACK_LZ4,  /* levels 0 to 9, default 0 */
};

struct stack_compression {
    enum stack_algorithm algorithm;
    int level;
};

const char *stack_algorithm_name(enum stack_algorithm algorithm); /* "zstd", "lz4" */
/* ERROR_INVALID for a name that is none, naming those there are. */
int stack_algorithm_parse(const char *name, enum stack_algorithm *algorithm, struct error *err);
int stack_default_level(enum stack_algorithm algorithm);
/* ERROR_INVALID if the algorithm has no such level, naming the levels it has. */
int stack_compression_check(const struct stack_compression *how, struct error *err);

/* "zstd:1", and back; without a level it is the default one. */
#define STACK_COMPRESSION_TEXT 16
void stack_compression_format(const struct stack_compression *how,
                              char text[STACK_COMPRESSION_TEXT]);
int stack_compression_parse(const char *text, struct stack_compression *how, struct error *err);

/* What others may do to and see of a compression that is under way. */
struct stack_task {
    atomic_bool cancelled; /* looked at with every chunk */
    _Atomic uint64_t done; /* raw bytes */
};

/* A compressed image without its name yet. Declare as
 * `_cleanup_(stack_packing) struct stack_packing packing = {.dirfd = -1};`: what was not published
 * is removed. */
struct stack_packing {
    int dirfd; /* borrowed */
    char *temporary;
    struct stack_compression how;
    dev_t device; /* of the raw file */
    ino_t inode;
    uint64_t raw_bytes, packed_bytes;
};
void cleanup_stack_packing(struct stack_packing *packing);

/* Compresses the raw image into a temporary beside it and syncs that. Nothing else changes, so no
 * lock is needed; the image must not be written meanwhile (R2 and R4 see to it). The memory it
 * takes grows with the size by the index alone: 24 bytes for every 256 KiB. -ECANCELED
 * (ERROR_STATE) soon after `task` was cancelled; -EMLINK (ERROR_STATE) if the image has other
 * owners. */
int stack_pack(const struct stack_file *raw, const struct stack_compression *how,
               struct stack_task *task, struct stack_packing *packing, struct error *err);

/* Puts the compressed image in the place of the raw one. -ESTALE (ERROR_STATE) if that is another
 * file by now, -EMLINK if it has other owners. After a failure the raw image is there, or if its
 * removal alone could not be made durable, the compressed one. */
int stack_pack_publish(const struct stack_file *raw, struct stack_packing *packing,
                       struct error *err);

/* Looks for a compressed image where no raw one is: 1 and what it is, or 0. */
struct stack_packed {
    enum stack_algorithm algorithm;
    uint64_t bytes;
};
int stack_find_packed(const struct stack_file *raw, struct stack_packed *packed, struct error *err);

/* 1 if any part of the image that was found can be had without the rest (packed_image.h), 0 if it
 * has no index; ERROR_CORRUPT if that is damaged or of an image of another size. Chunks are not
 * looked at. */
int stack_packed_check(const struct stack_file *raw, const struct stack_packed *packed,
                       uint64_t size, struct error *err);

/* The name of the compressed file, by that of the raw one, and back: true if it is one. */
#define STACK_PACKED_NAME 64
void stack_packed_name(const char *raw, enum stack_algorithm algorithm,
                       char name[STACK_PACKED_NAME]);
bool stack_packed_name_is(const char *name, const char *raw, enum stack_algorithm *algorithm);

/* Puts a raw image of `size` bytes in the place of the compressed one; zeros become holes. Where
 * the raw one is there already it does what stack_settle_packed() does. Returns 1 if it had to
 * expand something, 0 if not; -ENOENT if neither is there; ERROR_CORRUPT if the compressed image is
 * damaged or not of that size. After a failure the compressed image is there as before. */
int stack_expand(const struct stack_file *raw, uint64_t size, struct stack_packed *packed,
                 struct error *err);

/* Removes what somebody who died left: half-made files of both names, and a compressed image beside
 * the raw one. */
int stack_settle_packed(const struct stack_file *raw, struct error *err);

#endif
