/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/failpoint.h"
#include "base/file.h"
#include "stack/copy.h"
#include "stack/image.h"

#define BUFFER (1u << 20)
#define BLOCK  4096u

/* A file on the way to have holes. */
struct sweep {
    int fd;
    const char *label;
    uint8_t *buffer;
    uint64_t zeros_start, zeros_end; /* a run of zero blocks that is not a hole yet */
};

static void cleanup_sweep(struct sweep *sweep)
{
    free(sweep->buffer);
    cleanup_close(&sweep->fd);
}

/* 1: the file system makes no holes. */
static int punch(struct sweep *sweep, struct error *err)
{
    uint64_t start = sweep->zeros_start, length = sweep->zeros_end - start;
    sweep->zeros_start = sweep->zeros_end = 0;
    if (length == 0)
        return 0;
    int r = failpoint("stack-drop-zeros");
    if (r == 0 && fallocate(sweep->fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, (off_t)start,
                            (off_t)length) < 0)
        r = -errno;
    if (r == -EOPNOTSUPP)
        return 1;
    return r < 0 ? error_errno(err, -r, sweep->label, "make holes in %s", sweep->label) : 0;
}

static int take_block(struct sweep *sweep, const uint8_t *bytes, size_t length, uint64_t offset,
                      struct error *err)
{
    bool zero = length == BLOCK && bytes_are_zero(bytes, length);
    if (zero && sweep->zeros_end == offset && sweep->zeros_start < offset) {
        sweep->zeros_end = offset + length;
        return 0;
    }
    int r = punch(sweep, err);
    if (zero) {
        sweep->zeros_start = offset;
        sweep->zeros_end = offset + length;
    }
    return r;
}

static int take_extent(struct sweep *sweep, uint64_t offset, uint64_t end, struct error *err)
{
    int r = 0;
    while (r == 0 && offset < end) {
        size_t length = end - offset < BUFFER ? (size_t)(end - offset) : BUFFER;
        r = file_pread_exact(sweep->fd, sweep->buffer, length, offset, sweep->label, err);
        for (size_t at = 0; r == 0 && at < length; at += BLOCK) {
            size_t block = length - at < BLOCK ? length - at : BLOCK;
            r = take_block(sweep, sweep->buffer + at, block, offset + at, err);
        }
        offset += length;
    }
    return r;
}

/* Blocks count from the start of the file, not from where data happens to begin. */
static int take_all(struct sweep *sweep, uint64_t size, struct error *err)
{
    uint64_t start = 0, end = 0, at = 0;
    while (end < size) {
        int r = sparse_next_extent(sweep->fd, size, &start, &end);
        if (r < 0)
            return error_errno(err, -r, sweep->label, "find data in %s", sweep->label);
        if (r == 0)
            break;
        start -= start % BLOCK;
        r = take_extent(sweep, start > at ? start : at, end, err);
        if (r != 0)
            return r;
        start = at = end;
    }
    return punch(sweep, err);
}

int stack_drop_zeros(const struct stack_file *file, struct error *err)
{
    struct stat st;
    _cleanup_(sweep) struct sweep sweep = {.fd = -1, .label = image_label(file)};
    sweep.fd = stack_open_writable(file, err);
    if (sweep.fd < 0)
        return sweep.fd;
    if (fstat(sweep.fd, &st) < 0)
        return error_errno(err, errno, sweep.label, "stat %s", sweep.label);
    sweep.buffer = malloc(BUFFER);
    if (!sweep.buffer)
        return error_errno(err, ENOMEM, sweep.label, "make holes in %s", sweep.label);
    int r = take_all(&sweep, (uint64_t)st.st_size, err);
    return r < 0 ? r : 0;
}
