/* SPDX-License-Identifier: Apache-2.0 */
/* Inside src/stack: a disk's stack that is open. */
#ifndef TINE_STACK_DISK_PRIVATE_H
#define TINE_STACK_DISK_PRIVATE_H

#include "stack/copy.h"
#include "stack/disk_below.h"
#include "stack/disk_layer.h"
#include "stack/disk_stack.h"

struct disk_stack {
    int dirfd;          /* its own */
    char *name, *label; /* of the base */
    uint64_t size;
    bool writable;
    struct disk_layer top;
    struct disk_below below;
};

/* A layer's file by number; owns its strings. */
struct disk_file {
    struct stack_file file;
    char *name, *label;
};
#define DISK_FILE_NONE \
    {                  \
        .name = NULL   \
    }
void cleanup_disk_file(struct disk_file *file);
int disk_file_of(const struct stack_file *base, unsigned number, struct disk_file *file,
                 struct error *err);

/* For sweep_directory(): a layer that a chain has no use for any more. */
struct disk_others {
    const char *base;
    const struct disk_chain *chain;
};
bool disk_is_other(const char *name, const void *context);

/* The base as a name in the stack's own directory. */
static inline struct stack_file disk_base_of(const struct disk_stack *stack)
{
    return (struct stack_file){stack->dirfd, stack->name, stack->label};
}

/* Where a range of the disk is: `length` bytes that follow one another there too. */
struct disk_place {
    int fd; /* -1: zeros */
    uint64_t offset, length;
};
struct disk_place disk_stack_place(const struct disk_stack *stack, uint64_t offset,
                                   uint64_t length);

/* Checks and opens everything below `over`, the header of the top. `base` is open for reading and
 * taken over, after a failure too. */
int disk_below_open(struct disk_below *below, const struct stack_file *base, int base_fd,
                    const struct disk_header *over, struct error *err);
/* Makes a layer that holds nothing, as disk_layer_create() does, under a temporary name beside
 * `file`, whose name it is to get. */
int disk_layer_begin(const struct stack_file *file, mode_t mode, const struct disk_header *like,
                     struct temporary *temporary, struct disk_layer *layer, struct error *err);
/* Makes a new, empty top over what `like` says, under its own name: -EEXIST if there is one. */
int disk_top_create(const struct stack_file *base, const struct disk_header *like,
                    struct error *err);

#endif
