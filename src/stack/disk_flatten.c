/* SPDX-License-Identifier: Apache-2.0 */
/* One raw file of a disk, for who can't read stacks. */
#include <errno.h>
#include <fcntl.h>
#include <linux/falloc.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/failpoint.h"
#include "base/file.h"
#include "stack/disk_private.h"
#include "stack/image.h"

#define BUFFER_SIZE (1u << 20)

/* A stack on its way into a copy of its base. */
struct flatten {
    const struct disk_stack *stack;
    int out;
    const char *label; /* of what is made */
    uint8_t *buffer;
    uint64_t written;
};

static int write_range(struct flatten *flatten, const struct disk_place *place, uint64_t offset,
                       struct error *err)
{
    int r = failpoint("disk-flatten-data");
    if (r < 0)
        return error_errno(err, -r, flatten->label, "write %s", flatten->label);
    for (uint64_t done = 0; r == 0 && done < place->length;) {
        uint64_t left = place->length - done;
        size_t step = left < BUFFER_SIZE ? (size_t)left : BUFFER_SIZE;
        memset(flatten->buffer, 0, step);
        if (place->fd >= 0)
            r = file_pread_exact(place->fd, flatten->buffer, step, place->offset + done,
                                 flatten->stack->label, err);
        if (r == 0)
            r = file_pwrite_exact(flatten->out, flatten->buffer, step, offset + done,
                                  flatten->label, err);
        done += step;
        flatten->written += step;
    }
    return r;
}

/* What is zero becomes a hole, or where the file system makes none, zeros. */
static int zero_range(struct flatten *flatten, const struct disk_place *place, uint64_t offset,
                      struct error *err)
{
    if (fallocate(flatten->out, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, (off_t)offset,
                  (off_t)place->length) == 0)
        return 0;
    if (errno == EOPNOTSUPP || errno == ENOSYS)
        return write_range(flatten, place, offset, err);
    return error_errno(err, errno, flatten->label, "make a hole in %s", flatten->label);
}

static int overlay(struct flatten *flatten, struct error *err)
{
    const struct disk_stack *stack = flatten->stack;
    int r = 0;
    for (uint64_t offset = 0; r == 0 && offset < stack->size;) {
        struct disk_place place = disk_stack_place(stack, offset, stack->size - offset);
        if (place.fd < 0)
            r = zero_range(flatten, &place, offset, err);
        else if (place.fd != stack->below.layers[0].fd)
            r = write_range(flatten, &place, offset, err);
        offset += place.length;
    }
    return r;
}

static int write_layers(const struct disk_stack *stack, const struct stack_file *copy,
                        struct stack_result *result, struct error *err)
{
    _cleanup_(close) int out = stack_open_writable(copy, err);
    if (out < 0)
        return out;
    _cleanup_(free) uint8_t *buffer = malloc(BUFFER_SIZE);
    struct flatten flatten = {
        .stack = stack, .out = out, .label = image_label(copy), .buffer = buffer};
    if (!buffer)
        return error_errno(err, ENOMEM, flatten.label, "write %s", flatten.label);
    int r = overlay(&flatten, err);
    result->bytes_copied += flatten.written;
    if (r < 0)
        return r;
    r = fsync(out) < 0 ? -errno : 0;
    return r < 0 ? error_errno(err, -r, flatten.label, "sync %s", flatten.label) : 0;
}

static int flatten_stack(const struct stack_file *base, const struct stack_file *to,
                         struct stack_result *result, struct error *err)
{
    static const struct copy_publication how = {.before_rename = "disk-flatten-before-rename",
                                                .after_rename = "disk-flatten-after-rename"};
    _cleanup_(temporary) struct temporary temporary = {.dirfd = -1};
    struct error cause = {0};
    _cleanup_(disk_stack) struct disk_stack *stack = disk_stack_open(base, false, &cause);
    if (!stack) {
        if (err)
            *err = cause;
        return -cause.errnum;
    }
    int r = image_absent(to, &cause);
    if (r == 0)
        r = copy_make(base, to, COPY_ANY, &temporary, result, &cause);
    const struct stack_file copy = {to->dirfd, temporary.name, image_label(to)};
    if (r == 0)
        r = write_layers(stack, &copy, result, &cause);
    if (r == 0)
        r = copy_publish(to, &temporary, &how, &cause);
    if (r < 0 && err)
        *err = cause;
    return r;
}

int disk_flatten(const struct stack_file *base, const struct stack_file *to,
                 struct stack_result *result, struct error *err)
{
    struct disk_chain chain;
    *result = (struct stack_result){.link_count = 1};
    int r = disk_chain_find(base, &chain, err);
    if (r < 0)
        return r;
    return chain.stack ? flatten_stack(base, to, result, err) : stack_copy(base, to, result, err);
}
