/* SPDX-License-Identifier: Apache-2.0 */
#include "stack/hole_probe.h"

#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <string.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/failpoint.h"
#include "base/file.h"
#include "stack/copy.h"
#include "stack/image.h"
#include "stack/layer.h"

#define PAGE_COUNT 1024u /* more than a huge page has */

/* What is written, in pages; as far apart as changes of memory are. */
static const struct written {
    uint64_t page, count;
    bool zero;
} pattern[] = {
    {3, 1, false}, {5, 1, true}, {17, 2, false}, {300, 3, true}, {700, 1, false}, {1023, 1, true},
};

static int probe_error(const struct stack_file *file, int errnum, struct error *err)
{
    return error_errno(err, errnum, image_label(file), "find out about holes beside %s",
                       image_label(file));
}

static int write_pattern(int fd, const struct stack_file *file, struct error *err)
{
    uint8_t bytes[3 * LAYER_PAGE_SIZE];
    if (ftruncate(fd, (off_t)PAGE_COUNT * LAYER_PAGE_SIZE) < 0)
        return probe_error(file, errno, err);
    for (size_t i = 0; i < ARRAY_SIZE(pattern); i++) {
        memset(bytes, pattern[i].zero ? 0 : 0x5a, sizeof(bytes));
        int r = file_pwrite_exact(fd, bytes, pattern[i].count * LAYER_PAGE_SIZE,
                                  pattern[i].page * LAYER_PAGE_SIZE, image_label(file), err);
        if (r < 0)
            return r;
    }
    return 0;
}

/* 1 if exactly the pattern is told, 0 if not. */
static int told(int fd, const struct stack_file *file, struct error *err)
{
    uint64_t start = 0, end = 0, size = (uint64_t)PAGE_COUNT * LAYER_PAGE_SIZE;
    for (size_t i = 0; i < ARRAY_SIZE(pattern); i++, start = end) {
        int r = sparse_next_extent(fd, size, &start, &end);
        if (r == -EINVAL || r == -EOPNOTSUPP)
            return 0;
        if (r < 0)
            return probe_error(file, -r, err);
        if (r == 0 || start != pattern[i].page * LAYER_PAGE_SIZE ||
            end != start + pattern[i].count * LAYER_PAGE_SIZE)
            return 0;
    }
    return 1;
}

/* Some file systems settle what is a hole only when they write. */
static int told_for_good(int fd, const struct stack_file *file, struct error *err)
{
    int r = told(fd, file, err);
    if (r > 0 && fsync(fd) < 0)
        return probe_error(file, errno, err);
    return r > 0 ? told(fd, file, err) : r;
}

int hole_probe(const struct stack_file *file, struct error *err)
{
    _cleanup_(temporary) struct temporary temporary = {.dirfd = -1};
    _cleanup_(close) int fd = temporary_create(file, 0600, &temporary, err);
    if (fd < 0)
        return fd;
    int r = write_pattern(fd, file, err);
    if (r == 0)
        r = told_for_good(fd, file, err);
    if (r == 0 || failpoint("stack-hole-probe") < 0)
        return error_set(err, ERROR_UNSUPPORTED, EOPNOTSUPP,
                         "the file system of %s does not tell which pages of a file were written",
                         image_label(file));
    return r < 0 ? r : 0;
}
