/* SPDX-License-Identifier: Apache-2.0 */
#include "instance/operation_log.h"

#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#include "base/clock.h"
#include "base/log.h"
#include "instance/telemetry.h"

#define LINE_SIZE 2048

int log_directory(const struct host *host, const char *id)
{
    char path[INSTANCE_ID_LENGTH + sizeof("/" GUEST_LOG)];
    snprintf(path, sizeof(path), "%s/" GUEST_LOG, id);
    int fd = openat(host->guests_fd, path, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    return fd < 0 ? -errno : fd;
}

/* What is written into must be a file of its own: the VMM may have put anything in its place. */
static int open_log(int dir, bool may_make, uint64_t *size)
{
    int make = may_make ? O_CREAT : 0;
    _cleanup_(close) int fd =
        openat(dir, OPERATIONS_LOG,
               O_WRONLY | O_APPEND | make | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC, 0600);
    struct stat st;
    if (fd < 0 || fstat(fd, &st) < 0)
        return -errno;
    if (!S_ISREG(st.st_mode) || st.st_nlink != 1)
        return -EINVAL;
    *size = (uint64_t)st.st_size;
    return TAKE_FD(fd);
}

static int open_for(int dir, size_t length, bool may_make)
{
    uint64_t size = 0;
    int fd = open_log(dir, may_make, &size);
    if (fd < 0 || !may_make || size + length <= OPERATION_LOG_LIMIT)
        return fd;
    close(fd);
    if (renameat(dir, OPERATIONS_LOG, dir, OPERATIONS_LOG_OLDER) < 0)
        return -errno;
    return open_log(dir, may_make, &size);
}

static int append(const struct operation *op, const char *line, size_t length)
{
    _cleanup_(close) int dir = log_directory(op->host, op->record.id);
    if (dir < 0)
        return dir;
    /* Without the hold the instance may be on its way out, and nothing may appear in it. */
    _cleanup_(close) int fd = open_for(dir, length, op->hold.table != NULL);
    if (fd < 0)
        return fd;
    ssize_t n = write(fd, line, length);
    return n < 0 ? -errno : (size_t)n < length ? -ENOSPC : 0;
}

/* What fails here fails the line too, which tells. */
void operation_log_prepare(const struct operation *op)
{
    pthread_mutex_t *lock = &op->host->telemetry->log_lock;
    _cleanup_(close) int dir = log_directory(op->host, op->record.id);
    pthread_mutex_lock(lock);
    _cleanup_(close) int fd = dir < 0 ? dir : open_for(dir, LINE_SIZE, true);
    pthread_mutex_unlock(lock);
}

/* "2026-01-31T12:00:00.123Z text"; nothing in the text may end the line or steer a terminal. */
static size_t line_make(char line[LINE_SIZE], const char *format, va_list args)
{
    char now[32];
    time_format_rfc3339(time_realtime_ns(), now);
    int start = snprintf(line, LINE_SIZE, "%s ", now);
    vsnprintf(line + start, LINE_SIZE - 1 - (size_t)start, format, args);
    size_t length = strlen(line);
    for (size_t i = 0; i < length; i++) {
        if ((unsigned char)line[i] < 0x20 || line[i] == 0x7f)
            line[i] = '?';
    }
    line[length] = '\n';
    return length + 1;
}

void operation_log_add(const struct operation *op, const char *format, ...)
{
    char line[LINE_SIZE];
    va_list args;
    va_start(args, format);
    size_t length = line_make(line, format, args);
    va_end(args);
    pthread_mutex_t *lock = &op->host->telemetry->log_lock;
    pthread_mutex_lock(lock);
    int r = append(op, line, length);
    pthread_mutex_unlock(lock);
    if (r < 0 && r != -ENOENT) /* it is gone, or never came to be */
        log_warning("write guests/%s/" GUEST_OPERATIONS_LOG ": %s", op->record.id, strerror(-r));
}
