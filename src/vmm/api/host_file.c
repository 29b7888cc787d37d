/* SPDX-License-Identifier: Apache-2.0 */
#include "vmm/api/host_file.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>

#include "base/cleanup.h"

static int check(const char *path, const char *what, int access, bool device_allowed,
                 struct error *err)
{
    struct stat st;
    /* O_NONBLOCK: the open of a FIFO returns, to be refused below. */
    _cleanup_(close) int fd = open(path, access | O_CLOEXEC | O_NONBLOCK);
    if (fd < 0)
        return error_errno(err, errno, path, "%s: open %s", what, path);
    if (fstat(fd, &st) < 0)
        return error_errno(err, errno, path, "%s: stat %s", what, path);
    if (!S_ISREG(st.st_mode) && !(device_allowed && S_ISBLK(st.st_mode)))
        return error_set(err, ERROR_INVALID, EINVAL, "%s: %s is not a regular file%s", what, path,
                         device_allowed ? " or block device" : "");
    return 0;
}

int host_file_check(const char *path, const char *what, struct error *err)
{
    return check(path, what, O_RDONLY, false, err);
}

int host_drive_check(const char *path, const char *what, bool writable, struct error *err)
{
    return check(path, what, writable ? O_RDWR : O_RDONLY, true, err);
}

int host_output_open(const char *path, const char *what, struct error *err)
{
    /* Read-write, because a write-only open of a FIFO fails while nobody reads it. */
    int fd = open(path, O_RDWR | O_CREAT | O_APPEND | O_NOCTTY | O_NONBLOCK | O_CLOEXEC, 0600);
    if (fd < 0)
        return error_errno(err, errno, path, "%s: open %s", what, path);
    return fd;
}
