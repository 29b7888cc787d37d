/* SPDX-License-Identifier: Apache-2.0 */
#include "pager/image_file.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"

int image_file_open(struct image_file *file, int fd, const struct stat *st, const char *label,
                    struct error *err)
{
    *file = (struct image_file){.st = *st};
    file->label = strdup(label);
    file->fd = fcntl(fd, F_DUPFD_CLOEXEC, 0);
    if (!file->label || file->fd < 0)
        return error_errno(err, file->label ? errno : ENOMEM, label, "open %s", label);
    return 0;
}

void image_file_close(struct image_file *file)
{
    cleanup_close(&file->fd);
    free(file->label);
}

static int64_t modified_ns(const struct stat *st)
{
    return (int64_t)st->st_mtim.tv_sec * 1000000000 + st->st_mtim.tv_nsec;
}

int64_t image_file_modified_ns(const struct image_file *file)
{
    return modified_ns(&file->st);
}

static bool same_content(const struct stat *a, const struct stat *b)
{
    return a->st_size == b->st_size && modified_ns(a) == modified_ns(b);
}

bool image_file_is(const struct image_file *file, const struct stat *st)
{
    return file->st.st_dev == st->st_dev && file->st.st_ino == st->st_ino &&
           same_content(&file->st, st);
}

int image_file_check(const struct image_file *file, struct error *err)
{
    struct stat st;
    if (fstat(file->fd, &st) < 0)
        return error_errno(err, errno, file->label, "stat %s", file->label);
    if (st.st_size != file->st.st_size)
        return error_set(err, ERROR_CORRUPT, EIO, "%s had %lld bytes and has %lld now", file->label,
                         (long long)file->st.st_size, (long long)st.st_size);
    if (!same_content(&st, &file->st))
        return error_set(err, ERROR_CORRUPT, EIO, "%s was written while it was in use",
                         file->label);
    return 0;
}
