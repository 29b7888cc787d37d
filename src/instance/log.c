/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>

#include "instance/operation_log.h"

static const struct {
    const char *file, *name;
} logs[] = {
    [INSTANCE_LOG_CONSOLE] = {"console.log", "console log"},
    [INSTANCE_LOG_VMM] = {"vmm.log", "VMM log"},
    [INSTANCE_LOG_OPERATIONS] = {OPERATIONS_LOG, "log of operations"},
    [INSTANCE_LOG_OPERATIONS_OLDER] = {OPERATIONS_LOG_OLDER, "older log of operations"},
};

static int open_in(const struct host *host, const char *id, const char *file)
{
    _cleanup_(close) int dir = log_directory(host, id);
    if (dir < 0)
        return dir;
    int fd = openat(dir, file, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);
    return fd < 0 ? -errno : fd;
}

/* Without the lock: logs are read while operations are under way. O_NONBLOCK and the check of the
 * type: the VMM writes in this directory, and it must not make tined wait on a FIFO. */
int instance_log_open(struct host *host, const char *reference, enum instance_log log,
                      struct error *err)
{
    struct instance_record record;
    int r = instance_get(host, reference, &record, err);
    if (r < 0)
        return r;
    const char *file = logs[log].file;
    _cleanup_(close) int fd = open_in(host, record.id, file);
    if (fd == -ENOENT)
        return error_set(err, ERROR_NOT_FOUND, ENOENT, "%s has no %s yet", record.name,
                         logs[log].name);
    struct stat st;
    if (fd < 0)
        return error_errno(err, -fd, file, "open guests/%s/" GUEST_LOG "/%s", record.id, file);
    if (fstat(fd, &st) < 0)
        return error_errno(err, errno, file, "stat guests/%s/" GUEST_LOG "/%s", record.id, file);
    if (!S_ISREG(st.st_mode))
        return error_set(err, ERROR_CORRUPT, EINVAL,
                         "guests/%s/" GUEST_LOG "/%s is not a regular file", record.id, file);
    return TAKE_FD(fd);
}
