/* SPDX-License-Identifier: Apache-2.0 */
#include "base/log_file.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/cleanup.h"

int log_file_open(int dirfd, const char *label, const char *name, off_t limit, uint64_t *start,
                  struct error *err)
{
    struct stat st;
    _cleanup_(close) int fd = openat(
        dirfd, name, O_WRONLY | O_CREAT | O_APPEND | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC, 0600);
    if (fd < 0 || fstat(fd, &st) < 0)
        return error_errno(err, errno, label, "open %s/%s", label, name);
    if (!S_ISREG(st.st_mode) || st.st_nlink != 1)
        return error_set(err, ERROR_STATE, EMLINK, "%s/%s is no log: no file, or one of %lu names",
                         label, name, (unsigned long)st.st_nlink);
    if (st.st_size > limit && ftruncate(fd, 0) < 0)
        return error_errno(err, errno, label, "truncate %s/%s", label, name);
    if (start)
        *start = st.st_size > limit ? 0 : (uint64_t)st.st_size;
    return TAKE_FD(fd);
}
