/* SPDX-License-Identifier: Apache-2.0 */
#include "base/log.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

/* The one piece of process-wide state: where log lines go. Set at start, before any thread. */
static struct {
    const char *program;
    enum log_level level;
    int fd;
} log_target = {.program = "tine", .level = LOG_LEVEL_INFO, .fd = STDERR_FILENO};

void log_configure(const char *program, enum log_level level, int fd)
{
    log_target.program = program;
    log_target.level = level;
    log_target.fd = fd;
}

void log_set_level(enum log_level level)
{
    log_target.level = level;
}

void log_set_fd(int fd)
{
    if (log_target.fd > STDERR_FILENO)
        close(log_target.fd);
    log_target.fd = fd;
}

void log_line(enum log_level level, const char *format, ...)
{
    static const char *const names[] = {"ERROR", "WARNING", "INFO", "DEBUG"};
    if (level > log_target.level)
        return;
    struct timespec now;
    struct tm utc;
    clock_gettime(CLOCK_REALTIME, &now);
    gmtime_r(&now.tv_sec, &utc);
    char line[2048];
    size_t used = strftime(line, sizeof(line), "%Y-%m-%dT%H:%M:%S", &utc);
    used +=
        (size_t)snprintf(line + used, sizeof(line) - used, ".%03ldZ %s %s: ", now.tv_nsec / 1000000,
                         names[level], log_target.program);
    va_list args;
    va_start(args, format);
    int wanted = vsnprintf(line + used, sizeof(line) - used, format, args);
    va_end(args);
    size_t room = sizeof(line) - used - 1;
    size_t text = wanted < 0 ? 0 : ((size_t)wanted < room ? (size_t)wanted : room);
    for (size_t i = used; i < used + text; i++) {
        if ((unsigned char)line[i] < 0x20 || line[i] == 0x7f)
            line[i] = '?';
    }
    line[used + text] = '\n';
    /* A log line that can't be written has nowhere else to go. */
    if (write(log_target.fd, line, used + text + 1) < 0)
        return;
}
