/* SPDX-License-Identifier: Apache-2.0 */
#include "stack/disk_seal.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>

#include "base/cleanup.h"
#include "base/failpoint.h"
#include "base/log.h"
#include "stack/copy.h"
#include "stack/image.h"
#include "stack/link.h"

/* The next top, in the making. */
struct next {
    struct temporary temporary;
    struct disk_layer layer;
};

static void cleanup_next(struct next *next)
{
    cleanup_temporary(&next->temporary);
    disk_layer_close(&next->layer);
}

static int step(const char *name, const char *label, struct error *err)
{
    int r = failpoint(name);
    return r < 0 ? error_errno(err, -r, label, "seal %s", label) : 0;
}

static int next_make(const struct disk_stack *stack, struct disk_file *top, struct next *next,
                     struct error *err)
{
    const struct stack_file base = disk_base_of(stack);
    const struct disk_header *old = stack->top.header;
    const struct disk_header like = {
        .image_size = stack->size, .below = old->below + 1, .below_id = old->id};
    struct stat st;
    if (fstat(stack->top.fd, &st) < 0)
        return error_errno(err, errno, stack->top.label, "stat %s", stack->top.label);
    int r = disk_file_of(&base, DISK_TOP, top, err);
    if (r == 0)
        r = disk_layer_begin(&top->file, st.st_mode, &like, &next->temporary, &next->layer, err);
    return r < 0 ? r : step("disk-seal-made", stack->top.label, err);
}

/* 1: it has that name already, of an attempt that was interrupted. */
static int number_has(const struct disk_stack *stack, const struct stack_file *number,
                      struct error *err)
{
    struct stat top, named;
    struct error cause = {0};
    int r = image_stat(number, &named, &cause);
    if (r == -ENOENT)
        return 0;
    if (r == 0 && fstat(stack->top.fd, &top) < 0)
        return error_errno(err, errno, stack->top.label, "stat %s", stack->top.label);
    if (r == 0 && (top.st_ino != named.st_ino || top.st_dev != named.st_dev))
        return error_errno(err, EEXIST, image_label(number), "seal %s as %s", stack->top.label,
                           image_label(number));
    if (r < 0 && err)
        *err = cause;
    return r < 0 ? r : 1;
}

static int number_give(const struct disk_stack *stack, const struct stack_file *top,
                       const struct stack_file *number, struct error *err)
{
    struct stack_result result;
    int r = number_has(stack, number, err);
    if (r == 0)
        r = link_image(top, number, "disk-seal-link", &result, err);
    return r < 0 ? r : step("disk-seal-linked", stack->top.label, err);
}

/* Under the names that there are now the stack is right; in memory it is made so here. */
static int turn_over(struct disk_stack *stack, struct next *next, struct error *err)
{
    int r = disk_below_add(&stack->below, &stack->top, err);
    if (r < 0) {
        stack->top.failed = -r; /* a sealed layer takes no more */
        return r;
    }
    disk_layer_close(&stack->top);
    stack->top = next->layer;
    next->layer = (struct disk_layer)DISK_LAYER_NONE;
    return 0;
}

static int publish(struct disk_stack *stack, const struct stack_file *top, struct next *next,
                   struct error *err)
{
    static const struct copy_publication how = {.replace = true,
                                                .before_rename = "disk-seal-before-rename",
                                                .after_rename = "disk-seal-after-rename"};
    _cleanup_(disk_file) struct disk_file number = DISK_FILE_NONE;
    const struct stack_file base = disk_base_of(stack);
    int r = disk_file_of(&base, stack->top.header->below + 1, &number, err);
    if (r == 0)
        r = number_give(stack, top, &number.file, err);
    if (r < 0)
        return r;
    r = copy_publish(top, &next->temporary, &how, err);
    if (next->temporary.name) /* not renamed */
        return r;
    int turned = turn_over(stack, next, err);
    return r < 0 ? r : turned;
}

/* The old top goes on. */
static void unseal(struct disk_stack *stack)
{
    _cleanup_(disk_file) struct disk_file number = DISK_FILE_NONE;
    const struct stack_file base = disk_base_of(stack);
    struct error cause = {0};
    int r = disk_file_of(&base, stack->top.header->below + 1, &number, &cause);
    if (r == 0)
        r = number_has(stack, &number.file, &cause);
    if (r == -EEXIST)
        r = 0; /* somebody else's file of that name is no name of this one */
    if (r > 0 && unlinkat(stack->dirfd, number.name, 0) < 0)
        r = error_errno(&cause, errno, number.label, "remove %s", number.label);
    if (r >= 0)
        r = disk_layer_mark(&stack->top, false, &cause);
    if (r >= 0)
        return;
    log_error("%s can't be written any more: %s", stack->top.label, cause.message);
    stack->top.failed = -r;
}

int disk_seal_finish(struct disk_stack *stack, struct error *err)
{
    _cleanup_(disk_file) struct disk_file top = DISK_FILE_NONE;
    _cleanup_(next) struct next next = {.temporary.dirfd = -1, .layer = DISK_LAYER_NONE};
    int r = next_make(stack, &top, &next, err);
    return r < 0 ? r : publish(stack, &top.file, &next, err);
}

/* The next top is made before anything is marked: what can fail for want of room has failed by
 * then. */
static int seal(struct disk_stack *stack, struct error *err)
{
    _cleanup_(disk_file) struct disk_file top = DISK_FILE_NONE;
    _cleanup_(next) struct next next = {.temporary.dirfd = -1, .layer = DISK_LAYER_NONE};
    int r = next_make(stack, &top, &next, err);
    if (r < 0)
        return r;
    uint64_t id = stack->top.header->id;
    r = disk_layer_mark(&stack->top, true, err);
    if (r == 0)
        r = step("disk-seal-marked", stack->top.label, err);
    if (r == 0)
        r = publish(stack, &top.file, &next, err);
    if (r < 0 && stack->top.header->id == id && next.temporary.name)
        unseal(stack);
    return r;
}

/* Others may have made fewer files of the layers, and have room for the old ones given back. */
static int below_renew(struct disk_stack *stack, struct error *err)
{
    _cleanup_(disk_below) struct disk_below below = {.layers[0].fd = -1};
    const struct stack_file base = disk_base_of(stack);
    int fd = fcntl(stack->below.layers[0].fd, F_DUPFD_CLOEXEC, 0);
    if (fd < 0)
        return error_errno(err, errno, stack->label, "open %s", stack->label);
    int r = disk_below_open(&below, &base, fd, stack->top.header, err);
    if (r < 0)
        return r;
    struct disk_below old = stack->below;
    stack->below = below;
    below = old; /* closed here */
    return 0;
}

int disk_stack_seal(struct disk_stack *stack, struct error *err)
{
    if (!stack->writable)
        return error_set(err, ERROR_STATE, EROFS, "%s is open for reading", stack->label);
    if (stack->top.map.data_blocks == 0 && stack->top.map.zero_blocks == 0)
        return 0;
    int r = stack->below.depth >= DISK_STACK_DEEP ? below_renew(stack, err) : 0;
    if (r < 0)
        return r;
    if (stack->below.depth == DISK_STACK_LIMIT)
        return error_set(err, ERROR_STATE, EMLINK, "%s has %u layers, and may have no more",
                         stack->label, DISK_STACK_LIMIT);
    return seal(stack, err);
}

int disk_freeze(const struct stack_file *base, struct error *err)
{
    struct disk_chain chain;
    int r = disk_chain_find(base, &chain, err);
    if (r < 0 || chain.frozen)
        return r;
    if (!chain.stack) {
        const struct disk_header like = {.image_size = chain.image_size};
        return disk_top_create(base, &like, err);
    }
    _cleanup_(disk_stack) struct disk_stack *stack = disk_stack_open(base, true, err);
    if (!stack)
        return err && err->errnum ? -err->errnum : -EIO;
    return disk_stack_seal(stack, err);
}
