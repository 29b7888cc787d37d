/* SPDX-License-Identifier: Apache-2.0 */
#include "pager/stack_source.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>

#define XXH_INLINE_ALL
#include <xxhash.h>

#include "base/cleanup.h"
#include "pager/mapped_file.h"
#include "pager/packed_source.h"
#include "pager/raw_source.h"
#include "pager/uffd.h"
#include "stack/layer.h"

struct delta {
    struct layer *layer;
    struct mapped_file file;
};

struct stack_source {
    struct page_source base;
    struct page_source *bottom; /* the base */
    unsigned count;
    struct delta deltas[STACK_SOURCE_FILES - 1]; /* lowest first */
};

/* Where pages are that lie together: in a delta's file, in the base, or nowhere. */
struct place {
    const struct delta *delta; /* NULL: the base */
    uint64_t offset;           /* bytes into the delta's file */
    bool zero;                 /* the delta says so */
    uint64_t count;
};

static struct stack_source *stack_of(const struct page_source *source)
{
    return CONTAINER_OF((struct page_source *)source, struct stack_source, base);
}

static void stack_destroy(struct page_source *source)
{
    struct stack_source *stack = stack_of(source);
    for (unsigned i = 0; i < stack->count; i++) {
        layer_close(stack->deltas[i].layer);
        mapped_file_close(&stack->deltas[i].file);
    }
    if (stack->bottom)
        stack->bottom->ops->destroy(stack->bottom);
    free(stack);
}

static bool stack_is(const struct page_source *source, const struct stat *files, unsigned count)
{
    const struct stack_source *stack = stack_of(source);
    if (count != stack->count + 1 || !stack->bottom->ops->is(stack->bottom, files, 1))
        return false;
    for (unsigned i = 0; i < stack->count; i++) {
        if (!image_file_is(&stack->deltas[i].file.file, &files[i + 1]))
            return false;
    }
    return true;
}

static struct place find(const struct stack_source *stack, uint64_t page, uint64_t limit)
{
    struct place place = {.count = limit};
    for (unsigned i = stack->count; i > 0; i--) {
        const struct delta *delta = &stack->deltas[i - 1];
        struct layer_run run = layer_find(delta->layer, page);
        place.count = run.count < place.count ? run.count : place.count;
        if (run.kind == LAYER_ABSENT)
            continue;
        place.delta = delta;
        place.zero = run.kind == LAYER_ZERO;
        place.offset = run.offset;
        break;
    }
    return place;
}

static uint64_t stack_run(struct page_source *source, uint64_t page, uint64_t limit,
                          enum page_kind *kind)
{
    const struct stack_source *stack = stack_of(source);
    struct place place = find(stack, page, limit);
    if (!place.delta)
        return stack->bottom->ops->run(stack->bottom, page, place.count, kind);
    *kind = place.zero ? PAGE_ZERO : PAGE_DATA;
    return place.count;
}

static int stack_check(struct page_source *source, struct error *err)
{
    const struct stack_source *stack = stack_of(source);
    int r = stack->bottom->ops->check(stack->bottom, err);
    for (unsigned i = 0; i < stack->count && r == 0; i++)
        r = image_file_check(&stack->deltas[i].file.file, err);
    return r;
}

static int stack_pages(struct page_source *source, uint64_t page, uint64_t count, const void **from,
                       struct error *err)
{
    const struct stack_source *stack = stack_of(source);
    struct place place = find(stack, page, count);
    if (!place.delta)
        return stack->bottom->ops->pages(stack->bottom, page, count, from, err);
    *from = place.delta->file.map + place.offset;
    return 1;
}

static void stack_release(struct page_source *source, const void *from)
{
    const struct stack_source *stack = stack_of(source);
    stack->bottom->ops->release(stack->bottom, from);
}

static bool stack_unmapped(struct page_source *source, uint64_t page, uint64_t count)
{
    const struct stack_source *stack = stack_of(source);
    /* Deltas are small: what is not mapped of them the copy finds out. */
    return !find(stack, page, count).delta &&
           stack->bottom->ops->unmapped(stack->bottom, page, count);
}

static int stack_explain(struct page_source *source, uint64_t page, struct error *err)
{
    const struct stack_source *stack = stack_of(source);
    struct place place = find(stack, page, 1);
    if (!place.delta)
        return stack->bottom->ops->explain(stack->bottom, page, err);
    return mapped_file_explain(&place.delta->file, place.offset, err);
}

static void stack_advise(struct page_source *source, uint64_t page, uint64_t count)
{
    const struct stack_source *stack = stack_of(source);
    while (count > 0) {
        struct place place = find(stack, page, count);
        if (!place.delta)
            stack->bottom->ops->advise(stack->bottom, page, place.count);
        else if (!place.zero)
            mapped_file_advise(&place.delta->file, place.offset, place.count << PAGE_SHIFT);
        page += place.count;
        count -= place.count;
    }
}

static bool place_is_resident(const struct stack_source *stack, const struct place *place,
                              uint64_t page)
{
    if (!place->delta)
        return stack->bottom->ops->resident(stack->bottom, page, place->count);
    return place->zero ||
           mapped_file_resident(&place->delta->file, place->offset, place->count) == place->count;
}

static bool stack_resident(struct page_source *source, uint64_t page, uint64_t count)
{
    const struct stack_source *stack = stack_of(source);
    while (count > 0) {
        struct place place = find(stack, page, count);
        if (!place_is_resident(stack, &place, page))
            return false;
        page += place.count;
        count -= place.count;
    }
    return true;
}

static const struct page_source_ops stack_ops = {
    .destroy = stack_destroy,
    .is = stack_is,
    .run = stack_run,
    .check = stack_check,
    .pages = stack_pages,
    .release = stack_release,
    .unmapped = stack_unmapped,
    .explain = stack_explain,
    .advise = stack_advise,
    .resident = stack_resident,
};

static int delta_open(struct stack_source *stack, const struct source_file *file, struct error *err)
{
    struct delta *delta = &stack->deltas[stack->count];
    int fd = fcntl(file->fd, F_DUPFD_CLOEXEC, 0);
    if (fd < 0)
        return error_errno(err, errno, file->label, "open %s", file->label);
    delta->layer = layer_open_fd(fd, file->label, stack->bottom->identity.size, err);
    if (!delta->layer)
        return -err->errnum;
    stack->count++; /* from here on it is closed with the others */
    return mapped_file_open(&delta->file, file->fd, &file->st, file->label, err);
}

/* Changes when any of the files does. */
static struct page_source_identity identity_of(const struct stack_source *stack)
{
    struct page_source_identity identity = stack->bottom->identity;
    for (unsigned i = 0; i < stack->count; i++) {
        struct layer_info info;
        layer_describe(stack->deltas[i].layer, &info);
        const uint64_t words[] = {identity.version, info.id,
                                  (uint64_t)image_file_modified_ns(&stack->deltas[i].file.file)};
        identity.version = XXH3_64bits(words, sizeof(words));
    }
    return identity;
}

static struct page_source *base_open(const struct source_file *file, const struct base_format *base,
                                     struct error *err)
{
    return base->packed ? packed_source_open(file->fd, &file->st, file->label, base, err)
                        : raw_source_open(file->fd, &file->st, file->label, err);
}

static int stack_load(struct stack_source *stack, const struct source_file *files, unsigned count,
                      const struct base_format *base, struct error *err)
{
    stack->bottom = base_open(&files[0], base, err);
    if (!stack->bottom)
        return -err->errnum;
    for (unsigned i = 1; i < count; i++) {
        int r = delta_open(stack, &files[i], err);
        if (r < 0)
            return r;
    }
    stack->base = (struct page_source){.ops = &stack_ops,
                                       .identity = identity_of(stack),
                                       .format = stack->bottom->format,
                                       .references = 1};
    return 0;
}

struct page_source *stack_source_open(const struct source_file *files, unsigned count,
                                      const struct base_format *base, struct error *err)
{
    if (count == 1)
        return base_open(&files[0], base, err);
    struct stack_source *stack = calloc(1, sizeof(*stack));
    if (!stack) {
        error_errno(err, ENOMEM, files[0].label, "open %s", files[0].label);
        return NULL;
    }
    if (stack_load(stack, files, count, base, err) == 0)
        return &stack->base;
    stack_destroy(&stack->base);
    return NULL;
}
