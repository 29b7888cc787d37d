/* SPDX-License-Identifier: Apache-2.0 */
#include "instance/image_mark.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/cleanup.h"

int image_mark_take(int dirfd, const char *path, struct image_mark *mark, struct error *err)
{
    struct stat st;
    _cleanup_(close) int fd = openat(dirfd, path, O_PATH | O_NOFOLLOW | O_CLOEXEC);
    if (fd < 0 || fstat(fd, &st) < 0)
        return error_errno(err, errno, path, "open %s", path);
    image_mark_drop(mark);
    *mark = (struct image_mark){.fd = TAKE_FD(fd), .device = st.st_dev, .inode = st.st_ino};
    return 0;
}

void image_mark_drop(struct image_mark *mark)
{
    if (mark->fd >= 0)
        close(mark->fd);
    *mark = (struct image_mark)IMAGE_MARK_NONE;
}

int image_mark_compare(const struct image_mark *mark, int dirfd, const char *path,
                       struct error *err)
{
    struct stat st;
    if (fstatat(dirfd, path, &st, AT_SYMLINK_NOFOLLOW) < 0)
        return errno == ENOENT ? IMAGE_NONE : error_errno(err, errno, path, "stat %s", path);
    return mark->fd >= 0 && mark->device == st.st_dev && mark->inode == st.st_ino ? IMAGE_SAME
                                                                                  : IMAGE_OTHER;
}
