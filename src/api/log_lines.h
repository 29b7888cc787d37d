/* SPDX-License-Identifier: Apache-2.0 */
/* Reads a growing text file line by line, from its last lines on. */
#ifndef TINE_API_LOG_LINES_H
#define TINE_API_LOG_LINES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define LOG_LINE_LIMIT (64u << 10) /* a longer line comes in pieces */

struct log_lines {
    int fd; /* owned */
    uint64_t offset;
    char *buffer; /* LOG_LINE_LIMIT bytes */
    size_t start, length;
    uint64_t tail; /* how many lines it began with */
};

/* Begins at the last `tail` lines of the file, which it then owns. Negative errno on failure. */
int log_lines_open(struct log_lines *lines, int fd, uint64_t tail);
void log_lines_close(struct log_lines *lines);

/* The next line without its end (valid until the next call): 1; 0: no whole line yet, or with
 * `last` none at all (then a piece without an end counts as a line); negative errno. */
int log_lines_next(struct log_lines *lines, bool last, const char **line, size_t *length);

/* Goes on in `fd` (which it then owns) if that is another file and all of this one has been read,
 * and starts again if the file became shorter. */
int log_lines_reopen(struct log_lines *lines, int fd);

#endif
