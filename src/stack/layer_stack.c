/* SPDX-License-Identifier: Apache-2.0 */
/* When a stack is opened its layers are laid over one another once, into one sorted list of
 * extents; a look-up is then the same whatever the depth. */
#include "stack/layer_stack.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "base/cleanup.h"
#include "stack/extent_list.h"
#include "stack/image.h"

struct layer_stack {
    int base;
    char *label; /* of the base */
    uint64_t pages;
    unsigned depth;
    struct layer *layers[LAYER_STACK_LIMIT]; /* number 1 is the first */
    struct extent_list extents;
};

void layer_stack_close(struct layer_stack *stack)
{
    if (!stack)
        return;
    cleanup_close(&stack->base);
    free(stack->label);
    for (unsigned i = 0; i < stack->depth; i++)
        layer_close(stack->layers[i]);
    extent_list_free(&stack->extents);
    free(stack);
}

/* ---- names ---- */

void layer_stack_format(char *name, size_t size, const char *base, unsigned number)
{
    if (number == 0)
        snprintf(name, size, "%s", base);
    else
        snprintf(name, size, "%s.%u", base, number);
}

char *layer_stack_name(const char *base, unsigned number)
{
    size_t size = strlen(base) + sizeof(".4294967295");
    char *name = malloc(size);
    if (name)
        layer_stack_format(name, size, base, number);
    return name;
}

/* A layer by number; owns its strings. */
struct layer_name {
    struct stack_file file;
    char *name, *label;
};

static void cleanup_layer_name(struct layer_name *name)
{
    free(name->name);
    free(name->label);
}

static int layer_name(const struct stack_file *base, unsigned number, struct layer_name *name,
                      struct error *err)
{
    name->name = layer_stack_name(base->name, number);
    name->label = layer_stack_name(image_label(base), number);
    if (!name->name || !name->label)
        return error_errno(err, ENOMEM, image_label(base), "open the layers of %s",
                           image_label(base));
    name->file = (struct stack_file){base->dirfd, name->name, name->label};
    return 0;
}

/* 1 if the layer is there, 0 if not. */
static int layer_exists(const struct stack_file *base, unsigned number, struct error *err)
{
    _cleanup_(layer_name) struct layer_name name = {.name = NULL};
    int r = layer_name(base, number, &name, err);
    struct error cause = {0};
    struct stat st;
    if (r == 0)
        r = image_stat(&name.file, &st, &cause);
    if (r == -ENOENT)
        return 0;
    if (r < 0 && err && cause.errnum != 0)
        *err = cause;
    return r < 0 ? r : 1;
}

int layer_stack_count(const struct stack_file *base, struct error *err)
{
    unsigned count = 0;
    for (unsigned number = 1; number <= LAYER_STACK_LIMIT + 1; number++) {
        int r = layer_exists(base, number, err);
        if (r < 0)
            return r;
        if (r > 0 && count != number - 1)
            return error_set(err, ERROR_CORRUPT, ENOENT, "%s.%u is missing, %s.%u is there",
                             image_label(base), count + 1, image_label(base), number);
        if (r > 0)
            count = number;
    }
    if (count > LAYER_STACK_LIMIT)
        return error_set(err, ERROR_CORRUPT, E2BIG, "%s has more than %u layers", image_label(base),
                         LAYER_STACK_LIMIT);
    return (int)count;
}

/* ---- opening ---- */

static int base_open(struct layer_stack *stack, const struct stack_file *base, struct error *err)
{
    struct stat st;
    stack->base = image_open(base, O_RDONLY, &st, err);
    if (stack->base < 0)
        return stack->base;
    uint64_t size = (uint64_t)st.st_size;
    stack->pages = size / LAYER_PAGE_SIZE;
    if (size == 0 || size % LAYER_PAGE_SIZE != 0 || stack->pages > LAYER_PAGE_LIMIT)
        return error_set(err, ERROR_INVALID, EINVAL,
                         "%s has %" PRIu64 " bytes: it can't be the base of layers",
                         image_label(base), size);
    const struct extent_piece all = {.count = (uint32_t)stack->pages};
    return extent_list_add(&stack->extents, &all, image_label(base), err);
}

/* Lays the next layer over what is there. */
static int layer_add(struct layer_stack *stack, const struct stack_file *base, struct error *err)
{
    _cleanup_(layer_name) struct layer_name name = {.name = NULL};
    int r = layer_name(base, stack->depth + 1, &name, err);
    if (r < 0)
        return r;
    struct error cause = {0};
    struct layer *layer = layer_open(&name.file, stack->pages * LAYER_PAGE_SIZE, &cause);
    if (!layer) {
        if (err)
            *err = cause;
        return -cause.errnum;
    }
    stack->layers[stack->depth++] = layer;
    return extent_list_overlay(&stack->extents, stack->pages, layer, stack->depth, name.label, err);
}

static int stack_load(struct layer_stack *stack, const struct stack_file *base, struct error *err)
{
    int depth = base_open(stack, base, err);
    if (depth == 0)
        depth = layer_stack_count(base, err);
    int r = depth < 0 ? depth : 0;
    while (r == 0 && stack->depth < (unsigned)depth)
        r = layer_add(stack, base, err);
    return r;
}

struct layer_stack *layer_stack_open(const struct stack_file *base, struct error *err)
{
    _cleanup_(layer_stack) struct layer_stack *stack = calloc(1, sizeof(*stack));
    if (stack) {
        stack->base = -1;
        stack->label = strdup(image_label(base));
    }
    if (!stack || !stack->label) {
        error_errno(err, ENOMEM, image_label(base), "open %s", image_label(base));
        return NULL;
    }
    return stack_load(stack, base, err) == 0 ? TAKE_PTR(stack) : NULL;
}

/* ---- looking up ---- */

uint64_t layer_stack_pages(const struct layer_stack *stack)
{
    return stack->pages;
}

unsigned layer_stack_depth(const struct layer_stack *stack)
{
    return stack->depth;
}

int layer_stack_fd(const struct layer_stack *stack, unsigned layer)
{
    return layer == 0 ? stack->base : layer_fd(stack->layers[layer - 1]);
}

const char *layer_stack_label(const struct layer_stack *stack, unsigned layer)
{
    return layer == 0 ? stack->label : layer_label(stack->layers[layer - 1]);
}

void layer_stack_describe(const struct layer_stack *stack, unsigned layer, struct layer_info *info)
{
    layer_describe(stack->layers[layer - 1], info);
}

size_t layer_stack_extents(const struct layer_stack *stack)
{
    return stack->extents.count;
}

struct layer_extent layer_stack_find(const struct layer_stack *stack, uint64_t page)
{
    const struct extent_piece *piece = extent_list_find(&stack->extents, page);
    uint64_t skipped = page - piece->page;
    struct layer_extent extent = {.page = page, .count = piece->count - skipped};
    extent.zero = piece->layer == EXTENT_ZERO;
    extent.layer = extent.zero ? 0 : piece->layer;
    extent.fd = extent.zero ? -1 : layer_stack_fd(stack, piece->layer);
    extent.offset = extent.zero ? 0 : (piece->file_page + skipped) * LAYER_PAGE_SIZE;
    return extent;
}

int layer_stack_verify_layer(const struct layer_stack *stack, unsigned layer, struct error *err)
{
    return layer_verify(stack->layers[layer - 1], err);
}

int layer_stack_verify(const struct layer_stack *stack, struct error *err)
{
    int r = 0;
    for (unsigned i = 1; r == 0 && i <= stack->depth; i++)
        r = layer_stack_verify_layer(stack, i, err);
    return r;
}
