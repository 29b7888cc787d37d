/* SPDX-License-Identifier: Apache-2.0 */
/* What the layers hold is checked before it is copied: in a raw image nobody would ever notice. */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/failpoint.h"
#include "base/file.h"
#include "stack/copy.h"
#include "stack/image.h"
#include "stack/layer_task.h"
#include "stack/sweep.h"

#define BUFFER_SIZE LAYER_TASK_STEP

/* One stack on its way into a copy of its base. */
struct flatten {
    const struct layer_stack *stack;
    int out;
    bool fresh;        /* nothing of the base is there yet: it is empty */
    const char *label; /* of what is made */
    uint8_t *buffer;
    struct layer_pace pace;
    uint64_t written;
};

static int write_bytes(struct flatten *flatten, size_t length, uint64_t offset, struct error *err)
{
    int r = failpoint("stack-flatten-data");
    if (r < 0)
        return error_errno(err, -r, flatten->label, "write %s", flatten->label);
    r = layer_pace_step(&flatten->pace, length, flatten->label, err);
    if (r < 0)
        return r;
    if (flatten->fresh)
        return sparse_write(flatten->out, flatten->buffer, length, offset, flatten->label,
                            &flatten->written, err);
    r = file_pwrite_exact(flatten->out, flatten->buffer, length, offset, flatten->label, err);
    if (r == 0)
        flatten->written += length;
    return r;
}

static int copy_pages(struct flatten *flatten, const struct layer_extent *extent, struct error *err)
{
    uint64_t length = extent->count * LAYER_PAGE_SIZE;
    int r = 0;
    for (uint64_t done = 0; r == 0 && done < length;) {
        size_t step = length - done < BUFFER_SIZE ? (size_t)(length - done) : BUFFER_SIZE;
        memset(flatten->buffer, 0, step);
        if (!extent->zero)
            r = file_pread_exact(extent->fd, flatten->buffer, step, extent->offset + done,
                                 layer_stack_label(flatten->stack, extent->layer), err);
        if (r == 0)
            r = write_bytes(flatten, step, extent->page * LAYER_PAGE_SIZE + done, err);
        done += step;
    }
    return r;
}

/* Where the base can't be reflinked: its extents of data within that of the image. */
static int copy_base(struct flatten *flatten, const struct layer_extent *extent, struct error *err)
{
    const char *label = layer_stack_label(flatten->stack, 0);
    const uint64_t limit = extent->offset + extent->count * LAYER_PAGE_SIZE;
    uint64_t start = extent->offset, end = 0;
    while (start < limit) {
        int r = sparse_next_extent(extent->fd, limit, &start, &end);
        if (r == 0)
            return 0;
        if (r < 0)
            return error_errno(err, -r, label, "find data in %s", label);
        if (start >= limit)
            return 0;
        const uint64_t page = start / LAYER_PAGE_SIZE;
        end = end < limit ? end : limit; /* it may reach on */
        struct layer_extent part = *extent;
        part.page = extent->page + (page - extent->offset / LAYER_PAGE_SIZE);
        part.count = (end + LAYER_PAGE_SIZE - 1) / LAYER_PAGE_SIZE - page;
        part.offset = page * LAYER_PAGE_SIZE;
        r = copy_pages(flatten, &part, err);
        if (r < 0)
            return r;
        start = end;
    }
    return 0;
}

/* What was data in the base becomes a hole, or where the file system makes none, zeros. */
static int make_zero(struct flatten *flatten, const struct layer_extent *extent, struct error *err)
{
    if (flatten->fresh)
        return 0;
    int r = failpoint("stack-flatten-punch");
    if (r == 0 && fallocate(flatten->out, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE,
                            (off_t)(extent->page * LAYER_PAGE_SIZE),
                            (off_t)(extent->count * LAYER_PAGE_SIZE)) < 0)
        r = -errno;
    if (r == -EOPNOTSUPP || r == -ENOSYS)
        return copy_pages(flatten, extent, err);
    return r < 0 ? error_errno(err, -r, flatten->label, "make a hole in %s", flatten->label) : 0;
}

static int overlay(struct flatten *flatten, struct error *err)
{
    uint64_t pages = layer_stack_pages(flatten->stack);
    for (uint64_t page = 0; page < pages;) {
        struct layer_extent extent = layer_stack_find(flatten->stack, page);
        int r = 0;
        if (extent.zero)
            r = make_zero(flatten, &extent, err);
        else if (extent.layer > 0)
            r = copy_pages(flatten, &extent, err);
        else if (flatten->fresh)
            r = copy_base(flatten, &extent, err);
        if (r < 0)
            return r;
        page += extent.count;
    }
    return 0;
}

static int write_layers(struct flatten *flatten, const struct stack_file *copy,
                        struct stack_result *result, struct error *err)
{
    _cleanup_(close) int out = stack_open_writable(copy, err);
    if (out < 0)
        return out;
    _cleanup_(free) uint8_t *buffer = malloc(BUFFER_SIZE);
    flatten->out = out;
    flatten->label = image_label(copy);
    flatten->buffer = buffer;
    if (!buffer)
        return error_errno(err, ENOMEM, flatten->label, "write %s", flatten->label);
    int r = overlay(flatten, err);
    result->bytes_copied += flatten->written;
    if (r < 0)
        return r;
    r = failpoint("stack-flatten-sync");
    if (r == 0 && fsync(out) < 0)
        r = -errno;
    return r < 0 ? error_errno(err, -r, flatten->label, "sync %s", flatten->label) : 0;
}

/* An empty file of the base's size and mode. */
static int make_empty(const struct layer_stack *stack, const struct stack_file *to,
                      struct temporary *temporary, struct error *err)
{
    struct stat st;
    if (fstat(layer_stack_fd(stack, 0), &st) < 0)
        return error_errno(err, errno, layer_stack_label(stack, 0), "stat %s",
                           layer_stack_label(stack, 0));
    int r = sweep_temporaries_of(to, err);
    if (r < 0)
        return r;
    _cleanup_(close) int out = temporary_create(to, st.st_mode, temporary, err);
    if (out < 0)
        return out;
    return ftruncate(out, st.st_size) < 0
               ? error_errno(err, errno, image_label(to), "set the size of %s", image_label(to))
               : 0;
}

/* Reflinked where that can be, for then it is there at once. Else it is written like the layers, so
 * that the task has its say. */
static int make_base(struct flatten *flatten, const struct stack_file *base,
                     const struct stack_file *to, struct temporary *temporary,
                     struct stack_result *result, struct error *err)
{
    struct error cause = {0};
    int r = copy_make(base, to, COPY_REFLINK, temporary, result, &cause);
    if (r == -EOPNOTSUPP) {
        cleanup_temporary(temporary);
        *temporary = (struct temporary){.dirfd = -1};
        result->method = STACK_SPARSE_COPY;
        flatten->fresh = true;
        return make_empty(flatten->stack, to, temporary, err);
    }
    if (r < 0 && err)
        *err = cause;
    return r;
}

int layer_stack_flatten(const struct stack_file *base, const struct stack_file *to,
                        struct layer_task *task, struct stack_result *result, struct error *err)
{
    static const struct copy_publication how = {.before_rename = "stack-flatten-before-rename",
                                                .after_rename = "stack-flatten-after-rename"};
    _cleanup_(temporary) struct temporary temporary = {.dirfd = -1};
    struct error cause = {0};
    *result = (struct stack_result){.link_count = 1};
    _cleanup_(layer_stack) struct layer_stack *stack = layer_stack_open(base, &cause);
    struct flatten flatten = {.stack = stack, .pace = layer_pace_begin(task)};
    int r = stack ? image_absent(to, &cause) : -cause.errnum;
    if (r == 0)
        r = layer_stack_verify(stack, &cause);
    if (r == 0)
        r = make_base(&flatten, base, to, &temporary, result, &cause);
    const struct stack_file copy = {to->dirfd, temporary.name, image_label(to)};
    if (r == 0)
        r = write_layers(&flatten, &copy, result, &cause);
    if (r == 0)
        r = copy_publish(to, &temporary, &how, &cause);
    if (r < 0 && err)
        *err = cause;
    return r;
}
