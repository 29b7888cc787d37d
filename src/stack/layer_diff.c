/* SPDX-License-Identifier: Apache-2.0 */
#include "stack/layer_diff.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>

#include "base/cleanup.h"
#include "stack/copy.h"
#include "stack/hole_probe.h"
#include "stack/image.h"
#include "stack/sweep.h"

static int diff_open(const struct stack_file *diff, uint64_t image_size, struct stat *st,
                     struct error *err)
{
    _cleanup_(close) int fd = image_open(diff, O_RDONLY, st, err);
    if (fd < 0)
        return fd;
    if ((uint64_t)st->st_size != image_size)
        return error_set(err, ERROR_CORRUPT, EINVAL,
                         "%s has %" PRIu64 " bytes, it should have %" PRIu64, image_label(diff),
                         (uint64_t)st->st_size, image_size);
    int r = hole_probe(diff, err);
    return r < 0 ? r : TAKE_FD(fd);
}

static int add_extent(struct layer_writer *writer, int in, uint64_t start, uint64_t end,
                      const struct stack_file *diff, struct error *err)
{
    if (start % LAYER_PAGE_SIZE != 0 || end % LAYER_PAGE_SIZE != 0)
        return error_set(err, ERROR_CORRUPT, EINVAL,
                         "%s has data from %" PRIu64 " to %" PRIu64 ": that is not whole pages",
                         image_label(diff), start, end);
    return layer_writer_add_file(writer, start / LAYER_PAGE_SIZE, in, start,
                                 (end - start) / LAYER_PAGE_SIZE, image_label(diff), err);
}

static int add_extents(struct layer_writer *writer, int in, uint64_t size,
                       const struct stack_file *diff, struct error *err)
{
    uint64_t start = 0, end = 0;
    while (start < size) {
        int r = sparse_next_extent(in, size, &start, &end);
        if (r == 0)
            return 0;
        r = r < 0 ? error_errno(err, -r, image_label(diff), "find data in %s", image_label(diff))
                  : add_extent(writer, in, start, end, diff, err);
        if (r < 0)
            return r;
        start = end;
    }
    return 0;
}

static int write_layer(int in, const struct stat *st, int out, const struct stack_file *diff,
                       const struct stack_file *to, struct layer_info *info, struct error *err)
{
    uint64_t size = (uint64_t)st->st_size;
    struct error cause = {0};
    _cleanup_(layer_writer) struct layer_writer *writer =
        layer_writer_begin(out, image_label(to), size, &cause);
    int r = writer ? add_extents(writer, in, size, diff, &cause) : -cause.errnum;
    if (r == 0)
        r = image_check_unchanged(diff, in, st, &cause);
    if (r == 0)
        r = layer_writer_finish(writer, info, &cause);
    if (r < 0 && err)
        *err = cause;
    return r;
}

int layer_from_diff(const struct stack_file *diff, const struct stack_file *to, uint64_t image_size,
                    struct layer_info *info, struct error *err)
{
    static const struct copy_publication how = {.before_rename = "stack-diff-before-rename",
                                                .after_rename = "stack-diff-after-rename"};
    _cleanup_(temporary) struct temporary temporary = {.dirfd = -1};
    struct stat st;
    int r = image_absent(to, err);
    if (r == 0)
        r = sweep_temporaries_of(to, err);
    if (r < 0)
        return r;
    _cleanup_(close) int in = diff_open(diff, image_size, &st, err);
    if (in < 0)
        return in;
    _cleanup_(close) int out = temporary_create(to, st.st_mode, &temporary, err);
    if (out < 0)
        return out;
    r = write_layer(in, &st, out, diff, to, info, err);
    return r < 0 ? r : copy_publish(to, &temporary, &how, err);
}
