/* SPDX-License-Identifier: Apache-2.0 */
/* Lines to standard error, or to one descriptor: "2026-01-31T12:00:00.123Z INFO tined: text", then
 * fields, " instance=... operation=...". Tokens, secrets and guest data are never logged.
 * Thread-safe: a line is one write(2). */
#ifndef TINE_BASE_LOG_H
#define TINE_BASE_LOG_H

#include <stddef.h>

enum log_level { LOG_LEVEL_ERROR, LOG_LEVEL_WARNING, LOG_LEVEL_INFO, LOG_LEVEL_DEBUG };

enum log_format {
    LOG_FORMAT_TEXT,
    LOG_FORMAT_JSON,    /* one object: time, level, program, message, and a member per field */
    LOG_FORMAT_JOURNAL, /* text behind the priority that systemd reads, "<6>", without the time */
};

/* Sets who speaks, from which level on, and where to (a descriptor that stays open; 2 at start).
 * `program` must outlive the process's logging. */
void log_configure(const char *program, enum log_level level, int fd);
void log_set_level(enum log_level level);
void log_set_format(enum log_format format);
/* Redirects to `fd`, which the log then owns. */
void log_set_fd(int fd);

/* 0 and the level named "error", "warning", "info" or "debug"; -EINVAL. */
int log_level_parse(const char *name, enum log_level *level);
/* 0 and the format named "text", "json" or "journal"; -EINVAL. */
int log_format_parse(const char *name, enum log_format *format);

/* What the lines of this thread are about, until the scope ends:
 * `_cleanup_(log_context) struct log_context context; log_context_begin(&context, id, NULL);`. An
 * inner scope takes the place of the outer one. Either text may be NULL; both stay the caller's. */
struct log_context {
    const char *instance, *operation;
    const struct log_context *outer;
};
void log_context_begin(struct log_context *context, const char *instance, const char *operation);
void cleanup_log_context(struct log_context *context);
/* The innermost scope of this thread, or NULL. */
const struct log_context *log_context_current(void);

/* A field of one line; the key is a lowercase word. */
struct log_field {
    const char *key, *value;
};

/* Writes one line; control characters in the text become '?'; over 1400 bytes is cut. */
void log_line(enum log_level level, const char *format, ...) __attribute__((format(printf, 2, 3)));
/* The same, with fields before those of the context. */
void log_line_fields(enum log_level level, const struct log_field *fields, size_t count,
                     const char *format, ...) __attribute__((format(printf, 4, 5)));

#define log_error(...)   log_line(LOG_LEVEL_ERROR, __VA_ARGS__)
#define log_warning(...) log_line(LOG_LEVEL_WARNING, __VA_ARGS__)
#define log_info(...)    log_line(LOG_LEVEL_INFO, __VA_ARGS__)
#define log_debug(...)   log_line(LOG_LEVEL_DEBUG, __VA_ARGS__)

#endif
