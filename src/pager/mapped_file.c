/* SPDX-License-Identifier: Apache-2.0 */
#include "pager/mapped_file.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "pager/uffd.h"

int mapped_file_open(struct mapped_file *file, int fd, const struct stat *st, const char *label,
                     struct error *err)
{
    *file = (struct mapped_file){.st = *st, .map = MAP_FAILED};
    file->label = strdup(label);
    file->fd = fcntl(fd, F_DUPFD_CLOEXEC, 0);
    if (!file->label || file->fd < 0)
        return error_errno(err, file->label ? errno : ENOMEM, label, "open %s", label);
    file->map =
        mmap(NULL, (size_t)st->st_size, PROT_READ, MAP_PRIVATE | MAP_NORESERVE, file->fd, 0);
    if (file->map == MAP_FAILED)
        return error_errno(err, errno, label, "map %s", label);
    return 0;
}

void mapped_file_close(struct mapped_file *file)
{
    if (file->map && file->map != MAP_FAILED)
        munmap((void *)file->map, (size_t)file->st.st_size);
    cleanup_close(&file->fd);
    free(file->label);
}

static int64_t modified_ns(const struct stat *st)
{
    return (int64_t)st->st_mtim.tv_sec * 1000000000 + st->st_mtim.tv_nsec;
}

int64_t mapped_file_modified_ns(const struct mapped_file *file)
{
    return modified_ns(&file->st);
}

static bool same_content(const struct stat *a, const struct stat *b)
{
    return a->st_size == b->st_size && modified_ns(a) == modified_ns(b);
}

bool mapped_file_is(const struct mapped_file *file, const struct stat *st)
{
    return file->st.st_dev == st->st_dev && file->st.st_ino == st->st_ino &&
           same_content(&file->st, st);
}

int mapped_file_check(const struct mapped_file *file, struct error *err)
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

int mapped_file_explain(const struct mapped_file *file, uint64_t offset, struct error *err)
{
    char byte = 0;
    int r = mapped_file_check(file, err);
    if (r == 0 && pread(file->fd, &byte, 1, (off_t)offset) < 0)
        r = error_errno(err, errno, file->label, "read %s at %" PRIu64, file->label, offset);
    if (r == 0)
        r = error_set(err, ERROR_SYSTEM, EFAULT, "read %s at %" PRIu64 ": the mapping failed",
                      file->label, offset);
    return r;
}

void mapped_file_advise(const struct mapped_file *file, uint64_t offset, uint64_t length)
{
    /* What is not fetched now is fetched by the copy. */
    (void)madvise((void *)(file->map + offset), length, MADV_WILLNEED);
}

uint64_t mapped_file_resident(const struct mapped_file *file, uint64_t offset, uint64_t pages)
{
    unsigned char resident[256];
    for (uint64_t done = 0; done < pages;) {
        uint64_t now = pages - done < sizeof(resident) ? pages - done : sizeof(resident);
        if (mincore((void *)(file->map + offset + (done << PAGE_SHIFT)), now << PAGE_SHIFT,
                    resident) < 0)
            return pages; /* it can't be told: the copy finds out */
        for (uint64_t i = 0; i < now; i++) {
            if (!(resident[i] & 1))
                return done + i;
        }
        done += now;
    }
    return pages;
}
