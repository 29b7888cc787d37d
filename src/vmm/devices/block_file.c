/* SPDX-License-Identifier: Apache-2.0 */
#include "vmm/devices/block_file.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/falloc.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/file.h"
#include "base/vector.h"
#include "stack/disk_stack.h"

static int check_kind(int fd, const char *drive_id, const char *path, bool read_only,
                      struct error *err)
{
    struct stat status;

    if (fstat(fd, &status) < 0)
        return error_errno(err, errno, path, "drive %s: stat %s", drive_id, path);
    if (!S_ISREG(status.st_mode) && !S_ISBLK(status.st_mode))
        return error_set(err, ERROR_INVALID, EINVAL,
                         "drive %s: %s is neither a regular file nor a block device", drive_id,
                         path);
    if (!read_only && S_ISREG(status.st_mode) && status.st_nlink > 1)
        return error_set(err, ERROR_STATE, EMLINK,
                         "drive %s: %s has %lu links; a file with other owners can't be opened "
                         "for writing",
                         drive_id, path, (unsigned long)status.st_nlink);
    return 0;
}

/* A file that is taken for the whole disk, and is but what lies below a stack, must not be written.
 */
static int check_no_stack(const struct block_source *source, struct error *err)
{
    _cleanup_(free) char *top = disk_stack_name(source->path, DISK_TOP);
    if (!top)
        return error_errno(err, ENOMEM, source->path, "drive %s: open %s", source->drive_id,
                           source->path);
    int r = source->read_only ? 0 : file_exists(AT_FDCWD, top, err);
    if (r <= 0)
        return r;
    return error_set(err, ERROR_STATE, EBUSY,
                     "drive %s: %s is the base of a stack, and can't be written: is_stack is not "
                     "set, and there is %s",
                     source->drive_id, source->path, top);
}

/* Returns the size in bytes, or a negative errno. */
static int64_t file_open(struct block_file *file, const struct block_source *source,
                         struct error *err)
{
    /* O_NONBLOCK: opening a FIFO by mistake must fail, not wait for its other end. */
    int flags = (source->read_only ? O_RDONLY : O_RDWR) | O_CLOEXEC | O_NONBLOCK | O_NOCTTY;
    _cleanup_(close) int fd = open(source->path, flags);

    if (fd < 0)
        return error_errno(err, errno, source->path, "drive %s: open %s", source->drive_id,
                           source->path);
    int r = check_kind(fd, source->drive_id, source->path, source->read_only, err);
    if (r == 0)
        r = check_no_stack(source, err);
    if (r < 0)
        return r;
    off_t size = lseek(fd, 0, SEEK_END); /* st_size is 0 for a block device */
    if (size < 0)
        return error_errno(err, errno, source->path, "drive %s: size of %s", source->drive_id,
                           source->path);
    file->fd = TAKE_FD(fd);
    return size;
}

static int64_t stack_open(struct block_file *file, const struct block_source *source,
                          struct error *err)
{
    const char *slash = strrchr(source->path, '/');
    _cleanup_(free) char *parent =
        slash ? strndup(source->path, slash == source->path ? 1 : (size_t)(slash - source->path))
              : strdup(".");
    if (!parent)
        return error_errno(err, ENOMEM, source->path, "drive %s", source->drive_id);
    _cleanup_(close) int dirfd = dir_open(AT_FDCWD, parent, err);
    if (dirfd < 0)
        return error_wrap(err, "drive %s", source->drive_id);
    const struct stack_file base = {dirfd, slash ? slash + 1 : source->path, source->path};
    struct error cause = {0};
    file->stack = disk_stack_open(&base, !source->read_only, &cause);
    if (file->stack)
        return (int64_t)disk_stack_size(file->stack);
    error_wrap(&cause, "drive %s", source->drive_id);
    if (err)
        *err = cause;
    return -cause.errnum;
}

int block_file_open(struct block_file *file, const struct block_source *source, struct error *err)
{
    struct block_file opened = {.fd = -1, .read_only = source->read_only};
    _cleanup_(free) char *path = strdup(source->path);

    if (!path)
        return error_errno(err, ENOMEM, source->path, "drive %s: open %s", source->drive_id,
                           source->path);
    int64_t size =
        source->stack ? stack_open(&opened, source, err) : file_open(&opened, source, err);
    if (size < 0)
        return (int)size;
    opened.sectors = (uint64_t)size / SECTOR_SIZE;
    opened.path = TAKE_PTR(path);
    *file = opened;
    return 0;
}

void block_file_close(struct block_file *file)
{
    cleanup_close(&file->fd);
    disk_stack_close(file->stack);
    free(file->path);
    *file = (struct block_file){.fd = -1};
}

int block_file_read(const struct block_file *file, struct iovec *buffers, unsigned count,
                    uint64_t offset, uint64_t *done)
{
    struct vector vector = {buffers, count};

    return file->stack ? disk_stack_read(file->stack, buffers, count, offset, done)
                       : vector_read(file->fd, &vector, offset, done);
}

int block_file_write(const struct block_file *file, struct iovec *buffers, unsigned count,
                     uint64_t offset, uint64_t *done)
{
    struct vector vector = {buffers, count};

    return file->stack ? disk_stack_write(file->stack, buffers, count, offset, done)
                       : vector_write(file->fd, &vector, offset, done);
}

int block_file_flush(const struct block_file *file)
{
    int r;

    if (file->stack)
        return disk_stack_flush(file->stack);
    do
        r = fdatasync(file->fd);
    while (r < 0 && errno == EINTR);
    return r < 0 ? -errno : 0;
}

static int allocate(const struct block_file *file, int mode, uint64_t offset, uint64_t length)
{
    int r;

    do
        r = fallocate(file->fd, mode | FALLOC_FL_KEEP_SIZE, (off_t)offset, (off_t)length);
    while (r < 0 && errno == EINTR);
    return r < 0 ? -errno : 0;
}

int block_file_discard(const struct block_file *file, uint64_t offset, uint64_t length)
{
    if (file->stack)
        return disk_stack_discard(file->stack, offset, length);
    int r = allocate(file, FALLOC_FL_PUNCH_HOLE, offset, length);

    return r == -EOPNOTSUPP ? 0 : r; /* keeping the content is allowed (virtio 1.2, 5.2.6.2) */
}

/* For file systems that can neither punch nor zero a range. */
static int write_zeros(const struct block_file *file, uint64_t offset, uint64_t length)
{
    static const uint8_t zeros[4096];
    struct iovec buffers[64];
    uint64_t done = 0;

    while (done < length) {
        unsigned count = 0;
        uint64_t planned = done;
        for (; count < ARRAY_SIZE(buffers) && planned < length; count++) {
            size_t piece = length - planned < sizeof(zeros) ? length - planned : sizeof(zeros);
            buffers[count] = (struct iovec){.iov_base = (void *)(uintptr_t)zeros, .iov_len = piece};
            planned += piece;
        }
        int r = block_file_write(file, buffers, count, offset + done, &done);
        if (r < 0)
            return r;
    }
    return 0;
}

int block_file_zero(const struct block_file *file, uint64_t offset, uint64_t length, bool unmap)
{
    if (file->stack)
        return disk_stack_zero(file->stack, offset, length, unmap);
    int r = unmap ? allocate(file, FALLOC_FL_PUNCH_HOLE, offset, length) : -EOPNOTSUPP;

    if (r == -EOPNOTSUPP)
        r = allocate(file, FALLOC_FL_ZERO_RANGE, offset, length);
    if (r == -EOPNOTSUPP)
        r = write_zeros(file, offset, length);
    return r;
}
