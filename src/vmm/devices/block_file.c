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

int block_file_open(struct block_file *file, const char *drive_id, const char *path, bool read_only,
                    struct error *err)
{
    /* O_NONBLOCK: opening a FIFO by mistake must fail, not wait for its other end. */
    int flags = (read_only ? O_RDONLY : O_RDWR) | O_CLOEXEC | O_NONBLOCK | O_NOCTTY;
    _cleanup_(close) int fd = open(path, flags);

    if (fd < 0)
        return error_errno(err, errno, path, "drive %s: open %s", drive_id, path);
    int r = check_kind(fd, drive_id, path, read_only, err);
    if (r < 0)
        return r;
    off_t size = lseek(fd, 0, SEEK_END); /* st_size is 0 for a block device */
    if (size < 0)
        return error_errno(err, errno, path, "drive %s: size of %s", drive_id, path);
    char *copy = strdup(path);
    if (!copy)
        return error_errno(err, ENOMEM, path, "drive %s: open %s", drive_id, path);
    *file = (struct block_file){.fd = TAKE_FD(fd),
                                .read_only = read_only,
                                .sectors = (uint64_t)size / SECTOR_SIZE,
                                .path = copy};
    return 0;
}

void block_file_close(struct block_file *file)
{
    if (file->fd >= 0)
        close(file->fd);
    free(file->path);
    *file = (struct block_file){.fd = -1};
}

/* Drops `bytes` from the front of a vector. */
static void vector_advance(struct iovec **buffers, unsigned *count, size_t bytes)
{
    while (*count > 0 && bytes >= (*buffers)->iov_len) {
        bytes -= (*buffers)->iov_len;
        (*buffers)++;
        (*count)--;
    }
    if (*count > 0) {
        (*buffers)->iov_base = (char *)(*buffers)->iov_base + bytes;
        (*buffers)->iov_len -= bytes;
    }
}

typedef ssize_t transfer_call(int fd, const struct iovec *buffers, int count, off_t offset);

static int transfer(int fd, transfer_call *call, struct iovec *buffers, unsigned count,
                    uint64_t offset, uint64_t *done)
{
    vector_advance(&buffers, &count, 0); /* empty buffers at the front */
    while (count > 0) {
        ssize_t moved = call(fd, buffers, (int)count, (off_t)offset);
        if (moved < 0 && errno == EINTR)
            continue;
        if (moved < 0)
            return -errno;
        if (moved == 0)
            return -EIO;
        offset += (uint64_t)moved;
        *done += (uint64_t)moved;
        vector_advance(&buffers, &count, (size_t)moved);
    }
    return 0;
}

int block_file_read(const struct block_file *file, struct iovec *buffers, unsigned count,
                    uint64_t offset, uint64_t *done)
{
    return transfer(file->fd, preadv, buffers, count, offset, done);
}

int block_file_write(const struct block_file *file, struct iovec *buffers, unsigned count,
                     uint64_t offset, uint64_t *done)
{
    return transfer(file->fd, pwritev, buffers, count, offset, done);
}

int block_file_flush(const struct block_file *file)
{
    int r;

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
    int r = unmap ? allocate(file, FALLOC_FL_PUNCH_HOLE, offset, length) : -EOPNOTSUPP;

    if (r == -EOPNOTSUPP)
        r = allocate(file, FALLOC_FL_ZERO_RANGE, offset, length);
    if (r == -EOPNOTSUPP)
        r = write_zeros(file, offset, length);
    return r;
}
