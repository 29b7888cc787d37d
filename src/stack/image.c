/* SPDX-License-Identifier: Apache-2.0 */
#include "stack/image.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <linux/fs.h>
#include <linux/magic.h>
#include <sys/ioctl.h>
#include <sys/vfs.h>

#include "base/cleanup.h"
#include "base/failpoint.h"
#include "stack/spread.h"

const char *image_label(const struct stack_file *file)
{
    return file->label ? file->label : file->name;
}

/* Refuses what is not a regular file, in words. */
static int image_check_type(const struct stack_file *file, mode_t mode, struct error *err)
{
    static const struct {
        mode_t type;
        int errnum;
        const char *words;
    } kinds[] = {
        {S_IFLNK, ELOOP, "a symbolic link"},
        {S_IFDIR, EISDIR, "a directory"},
        {S_IFIFO, EINVAL, "a FIFO"},
        {S_IFSOCK, EINVAL, "a socket"},
        {S_IFCHR, EINVAL, "a character device"},
        {S_IFBLK, EINVAL, "a block device"},
    };
    if (S_ISREG(mode))
        return 0;
    for (size_t i = 0; i < ARRAY_SIZE(kinds); i++) {
        if ((mode & S_IFMT) == kinds[i].type)
            return error_set(err, ERROR_INVALID, kinds[i].errnum, "%s is %s, not a regular file",
                             image_label(file), kinds[i].words);
    }
    return error_set(err, ERROR_INVALID, EINVAL, "%s is not a regular file", image_label(file));
}

int image_stat(const struct stack_file *file, struct stat *st, struct error *err)
{
    *st = (struct stat){0};
    int r = failpoint("stack-stat");
    if (r == 0 && fstatat(file->dirfd, file->name, st, AT_SYMLINK_NOFOLLOW) < 0)
        r = -errno;
    if (r < 0)
        return error_errno(err, -r, image_label(file), "stat %s", image_label(file));
    return image_check_type(file, st->st_mode, err);
}

int image_open(const struct stack_file *file, int flags, struct stat *st, struct error *err)
{
    int r = image_stat(file, st, err);
    if (r < 0)
        return r;
    _cleanup_(close) int fd =
        openat(file->dirfd, file->name, flags | O_NOFOLLOW | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
    if (fd < 0)
        return error_errno(err, errno, image_label(file), "open %s", image_label(file));
    if (fstat(fd, st) < 0)
        return error_errno(err, errno, image_label(file), "stat %s", image_label(file));
    r = image_check_type(file, st->st_mode, err);
    return r < 0 ? r : TAKE_FD(fd);
}

int image_check_unchanged(const struct stack_file *file, int fd, const struct stat *before,
                          struct error *err)
{
    struct stat after;
    if (fstat(fd, &after) < 0)
        return error_errno(err, errno, image_label(file), "stat %s", image_label(file));
    if (after.st_size != before->st_size || after.st_mtim.tv_sec != before->st_mtim.tv_sec ||
        after.st_mtim.tv_nsec != before->st_mtim.tv_nsec)
        return error_set(err, ERROR_STATE, EBUSY, "%s was written while it was copied",
                         image_label(file));
    return 0;
}

int image_absent(const struct stack_file *file, struct error *err)
{
    struct stat st;
    if (fstatat(file->dirfd, file->name, &st, AT_SYMLINK_NOFOLLOW) == 0)
        return error_errno(err, EEXIST, image_label(file), "make %s", image_label(file));
    if (errno == ENOENT)
        return 0;
    return error_errno(err, errno, image_label(file), "stat %s", image_label(file));
}

int stack_stat(const struct stack_file *file, struct stack_stat *stat, struct error *err)
{
    struct stat st = {0};
    int r = image_stat(file, &st, err);
    if (r < 0)
        return r;
    *stat = (struct stack_stat){.link_count = st.st_nlink,
                                .size = (uint64_t)st.st_size,
                                .allocated = (uint64_t)st.st_blocks * 512,
                                .inode = st.st_ino,
                                .device = st.st_dev};
    return 0;
}

int stack_check_size(const struct stack_file *file, uint64_t size, struct error *err)
{
    struct stat st = {0};
    int r = image_stat(file, &st, err);
    if (r < 0)
        return r;
    if ((uint64_t)st.st_size != size)
        return error_set(err, ERROR_CORRUPT, EINVAL,
                         "%s has %" PRIu64 " bytes, it should have %" PRIu64, image_label(file),
                         (uint64_t)st.st_size, size);
    return 0;
}

/* Where blocks are shared with a reflinked copy, XFS reserves room around what is written, and its
 * SEEK_DATA may take the data there for a hole while it is not in the page cache (seen with Linux
 * 6.1, not with 6.18): whoever copies or compresses the file by its extents would lose it. Without
 * the reserve there is nothing to be mistaken. EINVAL: this XFS has no reflinks. */
static int reserve_nothing(int fd, const struct stack_file *file, struct error *err)
{
    struct statfs fs;
    struct fsxattr attributes;
    if (fstatfs(fd, &fs) < 0)
        return error_errno(err, errno, image_label(file), "stat the file system of %s",
                           image_label(file));
    if (fs.f_type != XFS_SUPER_MAGIC)
        return 0;
    int r = ioctl(fd, FS_IOC_FSGETXATTR, &attributes);
    if (r == 0) {
        attributes.fsx_xflags |= FS_XFLAG_COWEXTSIZE;
        attributes.fsx_cowextsize = (uint32_t)fs.f_bsize;
        r = ioctl(fd, FS_IOC_FSSETXATTR, &attributes);
    }
    return r == 0 || errno == EINVAL
               ? 0
               : error_errno(err, errno, image_label(file), "set the size of %s's copied extents",
                             image_label(file));
}

int stack_open_writable(const struct stack_file *file, struct error *err)
{
    struct stat st = {0};
    _cleanup_(close) int fd = image_open(file, O_RDWR, &st, err);
    if (fd < 0)
        return fd;
    if (st.st_nlink != 1)
        return error_set(err, ERROR_STATE, EMLINK,
                         "%s has %" PRIu64 " names: a shared image is never written (R2)",
                         image_label(file), (uint64_t)st.st_nlink);
    /* What is about to change must not be handed on as a copy of its old content. */
    int r = spread_remove_all(file, err);
    if (r == 0)
        r = reserve_nothing(fd, file, err);
    return r < 0 ? r : TAKE_FD(fd);
}
