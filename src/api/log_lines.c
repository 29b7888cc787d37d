/* SPDX-License-Identifier: Apache-2.0 */
#include "api/log_lines.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static ssize_t read_at(int fd, void *buffer, size_t length, uint64_t offset)
{
    ssize_t n;
    do
        n = pread(fd, buffer, length, (off_t)offset);
    while (n < 0 && errno == EINTR);
    return n < 0 ? -errno : n;
}

/* Finds where the last `tail` lines begin, reading blocks from the end backwards. */
static int find_tail(struct log_lines *lines, uint64_t size, uint64_t tail)
{
    uint64_t ends = 0, at = size;
    lines->offset = size;
    if (tail == 0)
        return 0;
    while (at > 0) {
        size_t block = at < LOG_LINE_LIMIT ? (size_t)at : LOG_LINE_LIMIT;
        ssize_t n = read_at(lines->fd, lines->buffer, block, at - block);
        if (n < 0)
            return (int)n;
        if ((size_t)n < block) /* the file became shorter meanwhile */
            break;
        for (size_t i = block; i > 0; i--) {
            /* The end of the very last line begins no further one. */
            if (lines->buffer[i - 1] != '\n' || at - block + i == size)
                continue;
            if (++ends == tail) {
                lines->offset = at - block + i;
                lines->tail = tail;
                return 0;
            }
        }
        at -= block;
    }
    lines->offset = 0;
    lines->tail = size > 0 ? ends + 1 : 0;
    return 0;
}

int log_lines_open(struct log_lines *lines, int fd, uint64_t tail)
{
    *lines = (struct log_lines){.fd = fd, .buffer = malloc(LOG_LINE_LIMIT)};
    struct stat st;
    if (!lines->buffer)
        return -ENOMEM;
    if (fstat(fd, &st) < 0)
        return -errno;
    return find_tail(lines, (uint64_t)st.st_size, tail);
}

void log_lines_close(struct log_lines *lines)
{
    if (lines->fd >= 0)
        close(lines->fd);
    free(lines->buffer);
    *lines = (struct log_lines){.fd = -1};
}

static int fill(struct log_lines *lines)
{
    memmove(lines->buffer, lines->buffer + lines->start, lines->length);
    lines->start = 0;
    ssize_t n = read_at(lines->fd, lines->buffer + lines->length, LOG_LINE_LIMIT - lines->length,
                        lines->offset);
    if (n < 0)
        return (int)n;
    lines->offset += (uint64_t)n;
    lines->length += (size_t)n;
    return n > 0;
}

static int take(struct log_lines *lines, size_t used, size_t text, const char **line,
                size_t *length)
{
    *line = lines->buffer + lines->start;
    while (text > 0 && (*line)[text - 1] == '\r')
        text--;
    *length = text;
    lines->start += used;
    lines->length -= used;
    return 1;
}

int log_lines_next(struct log_lines *lines, bool last, const char **line, size_t *length)
{
    for (;;) {
        const char *begin = lines->buffer + lines->start;
        const char *end = lines->length > 0 ? memchr(begin, '\n', lines->length) : NULL;
        if (end)
            return take(lines, (size_t)(end - begin) + 1, (size_t)(end - begin), line, length);
        if (lines->length == LOG_LINE_LIMIT)
            return take(lines, lines->length, lines->length, line, length);
        int r = fill(lines);
        if (r < 0)
            return r;
        if (r == 0 && last && lines->length > 0)
            return take(lines, lines->length, lines->length, line, length);
        if (r == 0)
            return 0;
    }
}

int log_lines_reopen(struct log_lines *lines, int fd)
{
    struct stat now, then;
    if (fstat(fd, &now) < 0 || fstat(lines->fd, &then) < 0) {
        int r = -errno;
        close(fd);
        return r;
    }
    bool other = now.st_dev != then.st_dev || now.st_ino != then.st_ino;
    if (other && (uint64_t)then.st_size > lines->offset) {
        close(fd); /* the rest first */
        return 0;
    }
    if (other || (uint64_t)now.st_size < lines->offset) {
        lines->offset = 0;
        lines->start = lines->length = 0;
    }
    close(other ? lines->fd : fd);
    if (other)
        lines->fd = fd;
    return 0;
}
