/* SPDX-License-Identifier: Apache-2.0 */
/* The fake VM's memory out of a stack, and as a layer, as tine-vmm has both. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/mman.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "fake_vmm.h"
#include "stack/layer_stack.h"

#define PAGE LAYER_PAGE_SIZE

static int write_pages(const struct fake *fake, struct layer_writer *writer, struct error *err)
{
    char *half_order = fake_order("half-diff", NULL);
    size_t end = half_order ? FAKE_USED / 2 : FAKE_USED;
    free(half_order);
    _cleanup_(close) int pagemap = open("/proc/self/pagemap", O_RDONLY | O_CLOEXEC);
    int r = pagemap < 0 ? -errno : 0;
    for (size_t at = 0; r == 0 && at < end; at += PAGE) {
        if (fake_page_is_dirty(fake, pagemap, at))
            r = layer_writer_add(writer, at / PAGE, fake->memory + at, 1, err);
    }
    return r < 0 || end == FAKE_USED ? r : error_set(err, ERROR_SYSTEM, EIO, "half a layer");
}

int fake_layer_write(const struct fake *fake, const char *path, char *fault, size_t size)
{
    struct error err = {0};
    _cleanup_(close) int fd = open(path, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
    _cleanup_(layer_writer) struct layer_writer *writer =
        fd < 0 ? NULL : layer_writer_begin(fd, path, fake->memory_size, &err);
    int r = writer ? write_pages(fake, writer, &err) : -1;
    if (r == 0)
        r = layer_writer_finish(writer, NULL, &err);
    if (r < 0)
        snprintf(fault, size, "write a layer into %s: %s", path, err.message);
    return r;
}

static int map_extent(const struct fake *fake, const struct layer_extent *extent)
{
    int flags = MAP_PRIVATE | MAP_FIXED | MAP_NORESERVE | (extent->zero ? MAP_ANONYMOUS : 0);
    if (!extent->zero && extent->layer == 0)
        return 0;
    return mmap(fake->memory + extent->page * PAGE, extent->count * PAGE, PROT_READ | PROT_WRITE,
                flags, extent->fd, (off_t)extent->offset) == MAP_FAILED
               ? -1
               : 0;
}

int fake_layers_map(struct fake *fake, const char *path, unsigned layers, char *fault, size_t size)
{
    struct error err = {0};
    const struct stack_file base = {AT_FDCWD, path, path};
    _cleanup_(layer_stack) struct layer_stack *stack = layer_stack_open(&base, &err);
    if (stack && layer_stack_depth(stack) != layers)
        error_set(&err, ERROR_INVALID, EINVAL, "not %u layers", layers);
    if (stack && layer_stack_extents(stack) > LAYER_STACK_MAPPINGS)
        error_set(&err, ERROR_INVALID, E2BIG, "too many pieces");
    for (uint64_t page = 0; !err.errnum && page < layer_stack_pages(stack);) {
        const struct layer_extent extent = layer_stack_find(stack, page);
        if (map_extent(fake, &extent) < 0)
            error_errno(&err, errno, path, "map");
        page += extent.count;
    }
    if (err.errnum)
        snprintf(fault, size, "load the layers of %s: %s", path, err.message);
    return err.errnum ? -1 : 0;
}
