/* SPDX-License-Identifier: Apache-2.0 */
/* Lines to standard error, or to one descriptor: "2026-01-31T12:00:00.123Z INFO tined: text".
 * Tokens, secrets and guest data are never logged. Thread-safe: a line is one write(2). */
#ifndef TINE_BASE_LOG_H
#define TINE_BASE_LOG_H

enum log_level { LOG_LEVEL_ERROR, LOG_LEVEL_WARNING, LOG_LEVEL_INFO, LOG_LEVEL_DEBUG };

/* Sets who speaks, from which level on, and where to (a descriptor that stays open; 2 at start).
 * `program` must outlive the process's logging. */
void log_configure(const char *program, enum log_level level, int fd);
void log_set_level(enum log_level level);
/* Redirects to `fd`, which the log then owns. */
void log_set_fd(int fd);

/* Writes one line; control characters in the text become '?'; over 2 KiB is cut. */
void log_line(enum log_level level, const char *format, ...) __attribute__((format(printf, 2, 3)));

#define log_error(...)   log_line(LOG_LEVEL_ERROR, __VA_ARGS__)
#define log_warning(...) log_line(LOG_LEVEL_WARNING, __VA_ARGS__)
#define log_info(...)    log_line(LOG_LEVEL_INFO, __VA_ARGS__)
#define log_debug(...)   log_line(LOG_LEVEL_DEBUG, __VA_ARGS__)

#endif
