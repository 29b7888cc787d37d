/* SPDX-License-Identifier: Apache-2.0 */
#include "vmm/devices/serial_log.h"

#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/cleanup.h"

#define LOG_BUFFER 256u
#define MOVE_CHUNK 4096u

struct serial_log {
    int fd;
    int flags; /* the descriptor's as it came, given back at the end; -1: never changed */
    bool regular;
    uint64_t limit, size; /* of a regular file */
    size_t used;
    uint8_t buffer[LOG_BUFFER];
};

/* Regular files are written at their end, so that a restored VM goes on where its log stood. */
static int log_adopt_regular(struct serial_log *log, struct error *err)
{
    off_t end = lseek(log->fd, 0, SEEK_END);
    if (end < 0)
        return error_errno(err, errno, NULL, "seek to the end of the serial log");
    log->regular = true;
    log->size = (uint64_t)end;
    return 0;
}

static int log_adopt(struct serial_log *log, struct error *err)
{
    struct stat st;
    if (fstat(log->fd, &st) < 0)
        return error_errno(err, errno, NULL, "stat the serial output");
    if (S_ISREG(st.st_mode))
        return log_adopt_regular(log, err);
    int flags = fcntl(log->fd, F_GETFL);
    if (flags < 0 || fcntl(log->fd, F_SETFL, flags | O_NONBLOCK) < 0)
        return error_errno(err, errno, NULL, "make the serial output non-blocking");
    log->flags = flags;
    return 0;
}

struct serial_log *serial_log_create(int fd, uint64_t limit, struct error *err)
{
    _cleanup_(close) int owned = fd;
    struct serial_log adopted = {.fd = fd, .flags = -1, .limit = limit};
    if (fd >= 0 && log_adopt(&adopted, err) < 0)
        return NULL;
    struct serial_log *log = malloc(sizeof(*log));
    if (!log) {
        error_errno(err, ENOMEM, NULL, "serial log");
        return NULL;
    }
    *log = adopted;
    (void)TAKE_FD(owned);
    return log;
}

void serial_log_destroy(struct serial_log *log)
{
    if (!log)
        return;
    serial_log_flush(log);
    if (log->flags >= 0)
        (void)fcntl(log->fd, F_SETFL, log->flags); /* nobody left to tell */
    if (log->fd >= 0)
        close(log->fd);
    free(log);
}

/* Moves [from, size) to the start of the file, in place; returns how many bytes are there then. */
static uint64_t log_move_down(int fd, uint64_t from, uint64_t size)
{
    uint8_t chunk[MOVE_CHUNK];
    uint64_t moved = 0;
    while (from + moved < size) {
        ssize_t n = pread(fd, chunk, sizeof(chunk), (off_t)(from + moved));
        if (n <= 0)
            break;
        n = pwrite(fd, chunk, (size_t)n, (off_t)moved);
        if (n <= 0)
            break;
        moved += (uint64_t)n;
    }
    return moved;
}

/* Drops the older half of a full file. pwrite(2) ignores its offset under O_APPEND, so that flag is
 * off meanwhile. */
static void log_trim(struct serial_log *log)
{
    off_t end = lseek(log->fd, 0, SEEK_END);
    uint64_t size = end < 0 ? log->size : (uint64_t)end;
    uint64_t keep = log->limit / 2 < size ? log->limit / 2 : size;
    int flags = fcntl(log->fd, F_GETFL);
    if (flags >= 0 && (flags & O_APPEND))
        (void)fcntl(log->fd, F_SETFL, flags & ~O_APPEND);
    uint64_t kept = log_move_down(log->fd, size - keep, size);
    if (ftruncate(log->fd, (off_t)kept) == 0 && lseek(log->fd, (off_t)kept, SEEK_SET) >= 0)
        log->size = kept;
    if (flags >= 0 && (flags & O_APPEND))
        (void)fcntl(log->fd, F_SETFL, flags);
}

void serial_log_flush(struct serial_log *log)
{
    size_t used = log->used, done = 0;
    log->used = 0;
    if (log->fd < 0 || used == 0)
        return;
    if (log->regular && log->size + used > log->limit)
        log_trim(log);
    if (log->regular && log->size + used > log->limit)
        return; /* it could not be cut: the cap holds, the bytes are lost */
    while (done < used) {
        ssize_t n = write(log->fd, log->buffer + done, used - done);
        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0)
            break;
        done += (size_t)n;
    }
    log->size += done;
}

void serial_log_put(struct serial_log *log, uint8_t byte)
{
    log->buffer[log->used++] = byte;
    if (byte == '\n' || log->used == LOG_BUFFER)
        serial_log_flush(log);
}
