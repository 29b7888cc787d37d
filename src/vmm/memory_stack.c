/* SPDX-License-Identifier: Apache-2.0 */
/* Guest memory out of a stack. The base is mapped as any memory file is; then what lies in a layer,
 * or is zero, is mapped over it, so that a page that differs from the stack is still one that this
 * process has for itself (memory_diff.c). */
#include <errno.h>
#include <sys/mman.h>

#include "stack/layer_stack.h"
#include "vmm/memory.h"

/* A part of the image that lies in one region. */
struct part {
    uint8_t *host;
    uint64_t length, offset; /* bytes; of the file */
};

static int part_map(const struct part *part, const struct layer_extent *extent)
{
    int flags = MAP_PRIVATE | MAP_FIXED | MAP_NORESERVE | (extent->zero ? MAP_ANONYMOUS : 0);
    void *mapped = mmap(part->host, part->length, PROT_READ | PROT_WRITE, flags, extent->fd,
                        (off_t)part->offset);
    return mapped == MAP_FAILED ? -errno : 0;
}

/* The image is without the gaps between the regions, so an extent may lie in several. */
static int extent_map(const struct guest_memory *memory, const struct layer_extent *extent)
{
    const uint64_t start = extent->page * GUEST_PAGE_SIZE;
    const uint64_t end = start + extent->count * GUEST_PAGE_SIZE;
    int r = 0;
    for (unsigned i = 0; r == 0 && i < memory->region_count; i++) {
        const struct guest_region *region = &memory->regions[i];
        const uint64_t region_end = region->file_offset + region->size;
        const uint64_t from = start > region->file_offset ? start : region->file_offset;
        const uint64_t to = end < region_end ? end : region_end;
        const struct part part = {.host = region->host + (from - region->file_offset),
                                  .length = to - from,
                                  .offset = extent->zero ? 0 : extent->offset + (from - start)};
        if (from < to)
            r = part_map(&part, extent);
    }
    return r;
}

static int layers_map(struct guest_memory *memory, const struct layer_stack *stack,
                      struct error *err)
{
    const uint64_t pages = memory->size / GUEST_PAGE_SIZE;
    int r = page_set_make(&memory->zeros, pages, err);
    for (uint64_t page = 0; r == 0 && page < pages;) {
        const struct layer_extent extent = layer_stack_find(stack, page);
        if (extent.zero)
            page_set_add(&memory->zeros, extent.page, extent.count);
        if (extent.zero || extent.layer > 0) {
            r = extent_map(memory, &extent);
            if (r < 0)
                error_errno(err, -r, layer_stack_label(stack, extent.layer),
                            "map the layers of %s as guest memory", layer_stack_label(stack, 0));
        }
        page += extent.count;
    }
    return r;
}

int guest_memory_map_stack(struct guest_memory *memory, uint64_t size,
                           const struct layer_stack *stack, struct error *err)
{
    const char *label = layer_stack_label(stack, 0);
    if (layer_stack_extents(stack) > LAYER_STACK_MAPPINGS)
        return error_set(err, ERROR_INVALID, E2BIG,
                         "%s and its layers lie in %zu pieces: more than %u are not mapped, make "
                         "one file of them first",
                         label, layer_stack_extents(stack), LAYER_STACK_MAPPINGS);
    int r = guest_memory_map(memory, size, layer_stack_fd(stack, 0), label, err);
    if (r < 0)
        return r;
    r = layers_map(memory, stack, err);
    if (r < 0)
        guest_memory_release(memory);
    return r;
}
