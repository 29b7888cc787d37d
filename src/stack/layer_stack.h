/* SPDX-License-Identifier: Apache-2.0 */
/* An image as a stack: a raw base and delta layers over it, lowest first. Beside the base "memory"
 * they are "memory.1", "memory.2", ...; a directory without layers is a stack of the base alone.
 *
 * The names of a stack that somebody may open are never changed one by one: no order of removing
 * them is safe. A stack that takes another's place is made in a directory of its own, and the
 * directories are exchanged (stack_exchange_directories()). */
#ifndef TINE_STACK_LAYER_STACK_H
#define TINE_STACK_LAYER_STACK_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/error.h"
#include "stack/layer.h"
#include "stack/stack.h"

#define LAYER_STACK_LIMIT 32u /* layers over a base */
/* Extents of a stack that is mapped. The kernel allows 65530 mappings (vm.max_map_count), and a
 * guest's balloon needs some of its own. */
#define LAYER_STACK_MAPPINGS 8192u

/* The name of a file of a stack: "<base>" (0), "<base>.1", ...; cut to `size`. */
void layer_stack_format(char *name, size_t size, const char *base, unsigned number);
/* The same, of any length. Owner: caller; NULL when out of memory. */
char *layer_stack_name(const char *base, unsigned number);

/* How many layers lie over a base, which need not be there. ERROR_CORRUPT when one between them is
 * missing, or when there are more than LAYER_STACK_LIMIT. */
int layer_stack_count(const struct stack_file *base, struct error *err);

/* Pages that follow one another in the image and lie in one file, one after another there too; or
 * that are zero. */
struct layer_extent {
    uint64_t page, count;
    bool zero;       /* then no file is to be asked */
    unsigned layer;  /* 0: the base; else the layer's number */
    int fd;          /* of that file (borrowed); -1: zero */
    uint64_t offset; /* bytes into it, page aligned */
};

struct layer_stack;

/* Opens the base and all layers over it; nothing of what they hold is read but the layers' indexes.
 * ERROR_CORRUPT if one is damaged or of an image of another size. ERROR_INVALID if the base is not
 * of whole pages. A hole of the base counts as pages of the base. It can then be used by several
 * threads. */
struct layer_stack *layer_stack_open(const struct stack_file *base, struct error *err);
void layer_stack_close(struct layer_stack *stack);
static inline void cleanup_layer_stack(struct layer_stack **stack)
{
    layer_stack_close(*stack);
}

uint64_t layer_stack_pages(const struct layer_stack *stack);
/* How many layers lie over the base. */
unsigned layer_stack_depth(const struct layer_stack *stack);
/* The descriptor of the base (0) or of a layer; borrowed. */
int layer_stack_fd(const struct layer_stack *stack, unsigned layer);
/* How messages name it. */
const char *layer_stack_label(const struct layer_stack *stack, unsigned layer);
/* Of a layer, from 1. */
void layer_stack_describe(const struct layer_stack *stack, unsigned layer, struct layer_info *info);

/* Of how many extents the image consists: so many mappings it takes to map it. */
size_t layer_stack_extents(const struct layer_stack *stack);
/* Where `page` is, which must be one of the image's, and as many pages from there on as lie behind
 * it in the same place. Walking the image: page += extent.count. */
struct layer_extent layer_stack_find(const struct layer_stack *stack, uint64_t page);

/* Compares all data of the layers with their checksums; the base has none. */
int layer_stack_verify(const struct layer_stack *stack, struct error *err);
/* Of one of them, from 1. */
int layer_stack_verify_layer(const struct layer_stack *stack, unsigned layer, struct error *err);

/* What others may do to a flattening or a joining that is under way: it is looked at before each
 * MiB, and ends with -ECANCELED (ERROR_STATE). NULL: nothing. */
struct layer_task {
    atomic_bool cancelled;
    uint64_t bytes_per_second; /* of data written; 0: no limit. A cancelled wait ends at once */
};

/* Makes one raw image of the stack, `to`, which must not exist and is published whole: a reflink of
 * the base, else a sparse copy, and over it what the layers hold, zeros as holes. The layers' data
 * is verified first. Nothing of the stack changes; its files must stay what they are meanwhile. */
int layer_stack_flatten(const struct stack_file *base, const struct stack_file *to,
                        struct layer_task *task, struct stack_result *result, struct error *err);

/* Makes one layer, `to`, of those from `first` on: over what lies below them it shows the same. Its
 * data is verified as it is read. Else as layer_stack_flatten(). Fills `info`, unless NULL. */
int layer_stack_join(const struct stack_file *base, unsigned first, const struct stack_file *to,
                     struct layer_task *task, struct layer_info *info, struct error *err);

#endif
