/* SPDX-License-Identifier: Apache-2.0 */
#include "pager/mapped_file.h"

#include <errno.h>
#include <inttypes.h>
#include <sys/mman.h>
#include <unistd.h>

#include "pager/uffd.h"

int mapped_file_open(struct mapped_file *file, int fd, const struct stat *st, const char *label,
                     struct error *err)
{
    file->map = MAP_FAILED;
    int r = image_file_open(&file->file, fd, st, label, err);
    if (r < 0)
        return r;
    file->map =
        mmap(NULL, (size_t)st->st_size, PROT_READ, MAP_PRIVATE | MAP_NORESERVE, file->file.fd, 0);
    if (file->map == MAP_FAILED)
        return error_errno(err, errno, label, "map %s", label);
    return 0;
}

void mapped_file_close(struct mapped_file *file)
{
    if (file->map && file->map != MAP_FAILED)
        munmap((void *)file->map, (size_t)file->file.st.st_size);
    image_file_close(&file->file);
}

int mapped_file_explain(const struct mapped_file *file, uint64_t offset, struct error *err)
{
    const struct image_file *image = &file->file;
    char byte = 0;
    int r = image_file_check(image, err);
    if (r == 0 && pread(image->fd, &byte, 1, (off_t)offset) < 0)
        r = error_errno(err, errno, image->label, "read %s at %" PRIu64, image->label, offset);
    if (r == 0)
        r = error_set(err, ERROR_SYSTEM, EFAULT, "read %s at %" PRIu64 ": the mapping failed",
                      image->label, offset);
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
