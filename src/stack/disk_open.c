/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "base/cleanup.h"
#include "stack/disk_private.h"
#include "stack/disk_seal.h"
#include "stack/image.h"

void disk_stack_close(struct disk_stack *stack)
{
    if (!stack)
        return;
    disk_layer_close(&stack->top);
    disk_below_close(&stack->below);
    cleanup_close(&stack->dirfd);
    free(stack->name);
    free(stack->label);
    free(stack);
}

uint64_t disk_stack_size(const struct disk_stack *stack)
{
    return stack->size;
}

static struct disk_stack *stack_make(const struct stack_file *base, struct error *err)
{
    struct disk_stack *stack = calloc(1, sizeof(*stack));
    if (!stack) {
        error_errno(err, ENOMEM, image_label(base), "open %s", image_label(base));
        return NULL;
    }
    stack->top.fd = stack->below.layers[0].fd = stack->dirfd = -1;
    return stack;
}

/* The names that its files have when one is sealed must mean this directory, whatever the caller
 * does with his descriptor. */
static int names_take(struct disk_stack *stack, const struct stack_file *base, struct error *err)
{
    stack->dirfd = openat(base->dirfd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (stack->dirfd < 0)
        return error_errno(err, errno, image_label(base), "open the directory of %s",
                           image_label(base));
    stack->name = strdup(base->name);
    stack->label = strdup(image_label(base));
    return stack->name && stack->label
               ? 0
               : error_errno(err, ENOMEM, image_label(base), "open %s", image_label(base));
}

/* A top that has another name is one that is being sealed, or somebody else's too. */
static int top_check_links(const struct disk_stack *stack, struct error *err)
{
    struct stat st;
    const struct disk_layer *top = &stack->top;
    if (fstat(top->fd, &st) < 0)
        return error_errno(err, errno, top->label, "stat %s", top->label);
    if (st.st_nlink == 1 || (st.st_nlink == 2 && top->header->sealed))
        return 0;
    return error_set(err, ERROR_STATE, EMLINK,
                     "%s has %lu names: what others share is never written (R2)", top->label,
                     (unsigned long)st.st_nlink);
}

static int top_open(struct disk_stack *stack, struct error *err)
{
    _cleanup_(disk_file) struct disk_file file = DISK_FILE_NONE;
    const struct stack_file base = disk_base_of(stack);
    int r = disk_file_of(&base, DISK_TOP, &file, err);
    if (r < 0)
        return r;
    r = disk_layer_open(&stack->top, &file.file, stack->writable ? O_RDWR : O_RDONLY, stack->size,
                        err);
    return r < 0 || !stack->writable ? r : top_check_links(stack, err);
}

static int stack_load(struct disk_stack *stack, const struct stack_file *base, struct error *err)
{
    struct stat st;
    int r = names_take(stack, base, err);
    if (r < 0)
        return r;
    _cleanup_(close) int fd = image_open(base, O_RDONLY, &st, err);
    if (fd < 0)
        return fd;
    stack->size = (uint64_t)st.st_size;
    r = top_open(stack, err);
    if (r == 0)
        r = disk_below_open(&stack->below, base, TAKE_FD(fd), stack->top.header, err);
    if (r == 0 && stack->writable && stack->top.header->sealed)
        r = disk_seal_finish(stack, err);
    return r;
}

struct disk_stack *disk_stack_open(const struct stack_file *base, bool writable, struct error *err)
{
    _cleanup_(disk_stack) struct disk_stack *stack = stack_make(base, err);
    if (!stack)
        return NULL;
    stack->writable = writable;
    return stack_load(stack, base, err) == 0 ? TAKE_PTR(stack) : NULL;
}
