/* SPDX-License-Identifier: Apache-2.0 */
#include "hypervisor/dirty_log.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/cleanup.h"

static const char *const notes[] = {
    [DIRTY_LOG_SINCE_BOOT] = "run/dirty-since-boot",
    [DIRTY_LOG_SINCE_BASE] = "run/dirty-since-base",
};

#define REQUIRED "run/dirty-log-required"

void dirty_log_note(int guest_fd, enum dirty_log log)
{
    _cleanup_(close) int fd = openat(guest_fd, notes[log], O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
    (void)fd;
}

enum dirty_log dirty_log_read(int guest_fd)
{
    struct stat st;
    for (size_t i = DIRTY_LOG_SINCE_BOOT; i < ARRAY_SIZE(notes); i++) {
        if (fstatat(guest_fd, notes[i], &st, AT_SYMLINK_NOFOLLOW) == 0)
            return (enum dirty_log)i;
    }
    return DIRTY_LOG_LOST;
}

int dirty_log_forget(int guest_fd, const char *guest_dir, struct error *err)
{
    for (size_t i = DIRTY_LOG_SINCE_BOOT; i < ARRAY_SIZE(notes); i++) {
        if (unlinkat(guest_fd, notes[i], 0) < 0 && errno != ENOENT)
            return error_errno(err, errno, guest_dir, "remove %s/%s", guest_dir, notes[i]);
    }
    return 0;
}

int dirty_log_require(int guest_fd, const char *guest_dir, struct error *err)
{
    _cleanup_(close) int fd = openat(guest_fd, REQUIRED, O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
    return fd < 0 ? error_errno(err, errno, guest_dir, "make %s/" REQUIRED, guest_dir) : 0;
}

/* When in doubt it is. */
bool dirty_log_is_required(int guest_fd)
{
    struct stat st;
    return fstatat(guest_fd, REQUIRED, &st, AT_SYMLINK_NOFOLLOW) == 0 || errno != ENOENT;
}
