/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/failpoint.h"
#include "base/file.h"
#include "stack/copy.h"
#include "stack/image.h"

#define COPY_BUFFER  (1u << 20) /* bytes; whatever the file's size */
#define SPARSE_PROBE (1u << 20)

/* One copy on its way. */
struct sparse_copy {
    int in, out;
    uint64_t size;
    const struct stack_file *from, *to;
    uint8_t *buffer;
    uint64_t written;
};

static int copy_error(const struct sparse_copy *copy, int errnum, const char *step,
                      struct error *err)
{
    return error_errno(err, errnum, image_label(copy->to), "copy %s -> %s: %s",
                       image_label(copy->from), image_label(copy->to), step);
}

/* Says during which copy the failure `r`, already told, happened. */
static int copy_wrap(const struct sparse_copy *copy, int r, struct error *err)
{
    error_wrap(err, "copy %s -> %s", image_label(copy->from), image_label(copy->to));
    return r;
}

static int no_sparse_files(const struct sparse_copy *copy, const struct stack_file *where,
                           struct error *err)
{
    return error_set(err, ERROR_UNSUPPORTED, EOPNOTSUPP,
                     "copy %s -> %s: the file system of %s has no sparse files, and a dense copy "
                     "of an image is never made",
                     image_label(copy->from), image_label(copy->to), image_label(where));
}

/* A file system that can't keep holes allocates what ftruncate() adds; seen on a small piece first,
 * before gigabytes are filled with zeros. */
static int target_prepare(const struct sparse_copy *copy, struct error *err)
{
    uint64_t probe = copy->size < SPARSE_PROBE ? copy->size : SPARSE_PROBE;
    struct stat st = {0};
    int r = failpoint("stack-share-copy-truncate");
    if (r == 0 && (ftruncate(copy->out, (off_t)probe) < 0 || fstat(copy->out, &st) < 0))
        r = -errno;
    if (r < 0)
        return copy_error(copy, -r, "set the size", err);
    if (probe > 0 &&
        ((uint64_t)st.st_blocks * 512 >= probe || failpoint("stack-share-copy-dense") < 0))
        return no_sparse_files(copy, copy->to, err);
    if (ftruncate(copy->out, (off_t)copy->size) < 0)
        return copy_error(copy, errno, "set the size", err);
    return 0;
}

/* Writes the runs of the buffer that are not all zero; the others stay holes. */
static int write_runs(struct sparse_copy *copy, uint64_t offset, size_t length, struct error *err)
{
    int r = sparse_write(copy->out, copy->buffer, length, offset, image_label(copy->to),
                         &copy->written, err);
    return r < 0 ? copy_wrap(copy, r, err) : 0;
}

static int copy_extent(struct sparse_copy *copy, uint64_t offset, uint64_t end, struct error *err)
{
    while (offset < end) {
        size_t length = end - offset < COPY_BUFFER ? (size_t)(end - offset) : COPY_BUFFER;
        int r = failpoint("stack-share-copy-data");
        if (r < 0)
            return copy_error(copy, -r, "copy data", err);
        r = file_pread_exact(copy->in, copy->buffer, length, offset, image_label(copy->from), err);
        if (r < 0)
            return copy_wrap(copy, r, err);
        r = write_runs(copy, offset, length, err);
        if (r < 0)
            return r;
        offset += length;
    }
    return 0;
}

int sparse_next_extent(int fd, uint64_t size, uint64_t *start, uint64_t *end)
{
    off_t data = lseek(fd, (off_t)*start, SEEK_DATA);
    if (data < 0 && errno == ENXIO) /* lseek(2): nothing but a hole up to the end of the file */
        return 0;
    off_t hole = data < 0 ? -1 : lseek(fd, data, SEEK_HOLE);
    if (hole < 0)
        return -errno;
    *start = (uint64_t)data;
    *end = (uint64_t)hole < size ? (uint64_t)hole : size;
    return 1;
}

static int next_extent(const struct sparse_copy *copy, uint64_t *start, uint64_t *end,
                       struct error *err)
{
    int r = failpoint("stack-share-copy-seek");
    if (r == 0)
        r = sparse_next_extent(copy->in, copy->size, start, end);
    if (r == -EINVAL || r == -EOPNOTSUPP)
        return no_sparse_files(copy, copy->from, err);
    return r < 0 ? copy_error(copy, -r, "find data", err) : r;
}

static int copy_extents(struct sparse_copy *copy, struct error *err)
{
    uint64_t start = 0, end = 0;
    while (start < copy->size) {
        int r = next_extent(copy, &start, &end, err);
        if (r > 0)
            r = copy_extent(copy, start, end, err);
        else if (r == 0)
            break;
        if (r < 0)
            return r;
        start = end;
    }
    return 0;
}

int sparse_copy(int in, int out, uint64_t size, const struct stack_file *from,
                const struct stack_file *to, uint64_t *copied, struct error *err)
{
    struct sparse_copy copy = {.in = in, .out = out, .size = size, .from = from, .to = to};
    int r = target_prepare(&copy, err);
    if (r < 0)
        return r;
    copy.buffer = malloc(COPY_BUFFER);
    if (!copy.buffer)
        return copy_error(&copy, ENOMEM, "copy data", err);
    r = copy_extents(&copy, err);
    *copied += copy.written;
    free(copy.buffer);
    return r;
}
