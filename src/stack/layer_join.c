/* SPDX-License-Identifier: Apache-2.0 */
/* What several layers hold, in one. A page that is zero in the stack is zero in that, whichever of
 * them said so: it may also be one below, and then it is said twice. */
#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>

#include "base/cleanup.h"
#include "stack/copy.h"
#include "stack/image.h"
#include "stack/layer_task.h"
#include "stack/sweep.h"

#define STEP_PAGES (LAYER_TASK_STEP / LAYER_PAGE_SIZE)

struct join {
    const struct layer_stack *stack;
    unsigned first;
    struct layer_writer *writer;
    struct layer_pace pace;
    const char *label;
};

static int add_data(struct join *join, const struct layer_extent *extent, struct error *err)
{
    int r = 0;
    for (uint64_t done = 0; r == 0 && done < extent->count; done += STEP_PAGES) {
        uint64_t left = extent->count - done;
        uint64_t pages = left < STEP_PAGES ? left : STEP_PAGES;
        r = layer_pace_step(&join->pace, pages * LAYER_PAGE_SIZE, join->label, err);
        if (r == 0)
            r = layer_writer_add_file(join->writer, extent->page + done, extent->fd,
                                      extent->offset + done * LAYER_PAGE_SIZE, pages,
                                      layer_stack_label(join->stack, extent->layer), err);
    }
    return r;
}

static int add_all(struct join *join, struct error *err)
{
    const uint64_t pages = layer_stack_pages(join->stack);
    int r = 0;
    for (uint64_t page = 0; r == 0 && page < pages;) {
        struct layer_extent extent = layer_stack_find(join->stack, page);
        if (extent.zero)
            r = layer_writer_add_zeros(join->writer, extent.page, extent.count, err);
        else if (extent.layer >= join->first)
            r = add_data(join, &extent, err);
        page += extent.count;
    }
    return r;
}

static int verify(const struct join *join, struct error *err)
{
    int r = 0;
    for (unsigned i = join->first; r == 0 && i <= layer_stack_depth(join->stack); i++)
        r = layer_stack_verify_layer(join->stack, i, err);
    return r;
}

static int write_layer(struct join *join, int out, struct layer_info *info, struct error *err)
{
    struct error cause = {0};
    _cleanup_(layer_writer) struct layer_writer *writer = layer_writer_begin(
        out, join->label, layer_stack_pages(join->stack) * LAYER_PAGE_SIZE, &cause);
    join->writer = writer;
    int r = writer ? verify(join, &cause) : -cause.errnum;
    if (r == 0)
        r = add_all(join, &cause);
    if (r == 0)
        r = layer_writer_finish(writer, info, &cause);
    if (r < 0 && err)
        *err = cause;
    return r;
}

static int join_and_publish(struct join *join, const struct stack_file *to, struct layer_info *info,
                            struct error *err)
{
    static const struct copy_publication how = {.before_rename = "stack-join-before-rename",
                                                .after_rename = "stack-join-after-rename"};
    _cleanup_(temporary) struct temporary temporary = {.dirfd = -1};
    struct stat st;
    if (fstat(layer_stack_fd(join->stack, join->first), &st) < 0)
        return error_errno(err, errno, join->label, "stat a layer for %s", join->label);
    int r = image_absent(to, err);
    if (r == 0)
        r = sweep_temporaries_of(to, err);
    if (r < 0)
        return r;
    _cleanup_(close) int out = temporary_create(to, st.st_mode, &temporary, err);
    r = out < 0 ? out : write_layer(join, out, info, err);
    return r < 0 ? r : copy_publish(to, &temporary, &how, err);
}

int layer_stack_join(const struct stack_file *base, unsigned first, const struct stack_file *to,
                     struct layer_task *task, struct layer_info *info, struct error *err)
{
    struct error cause = {0};
    _cleanup_(layer_stack) struct layer_stack *stack = layer_stack_open(base, &cause);
    struct join join = {
        .stack = stack, .first = first, .pace = layer_pace_begin(task), .label = image_label(to)};
    int r = !stack ? -cause.errnum
            : first == 0 || first > layer_stack_depth(stack)
                ? error_set(&cause, ERROR_INVALID, EINVAL, "%s has %u layers, none from %u on",
                            image_label(base), layer_stack_depth(stack), first)
                : join_and_publish(&join, to, info, &cause);
    if (r < 0 && err)
        *err = cause;
    return r;
}
