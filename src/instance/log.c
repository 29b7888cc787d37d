/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/stat.h>

#include "instance/host.h"

/* Without the lock: logs are read while operations are under way. O_NONBLOCK and the check of the
 * type: the VMM writes in this directory, and it must not make tined wait on a FIFO. */
int instance_log_open(struct host *host, const char *reference, bool vmm, struct error *err)
{
    struct instance_record record;
    char path[INSTANCE_ID_LENGTH + 32];
    int r = instance_get(host, reference, &record, err);
    if (r < 0)
        return r;
    snprintf(path, sizeof(path), "%s/%s", record.id, vmm ? GUEST_VMM_LOG : GUEST_CONSOLE_LOG);
    _cleanup_(close) int fd =
        openat(host->guests_fd, path, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);
    if (fd < 0 && errno == ENOENT)
        return error_set(err, ERROR_NOT_FOUND, ENOENT, "%s has no %s log yet", record.name,
                         vmm ? "VMM" : "console");
    struct stat st;
    if (fd < 0 || fstat(fd, &st) < 0)
        return error_errno(err, errno, path, "open guests/%s", path);
    if (!S_ISREG(st.st_mode))
        return error_set(err, ERROR_CORRUPT, EINVAL, "guests/%s is not a regular file", path);
    return TAKE_FD(fd);
}
