/* SPDX-License-Identifier: Apache-2.0 */
#include "base/log.h"

#include <errno.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/clock.h"
#include "base/utf8.h"

#define MESSAGE_SIZE 1408 /* a message and five fields fit into a line, also escaped */
#define FIELD_MAX    96   /* bytes of one value */
#define LINE_SIZE    4096 /* PIPE_BUF: lines of several threads into a pipe do not mix */

/* The one piece of process-wide state: where log lines go. Set at start, before any thread. */
static struct {
    const char *program;
    enum log_level level;
    enum log_format format;
    int fd;
} log_target = {.program = "tine", .level = LOG_LEVEL_INFO, .fd = STDERR_FILENO};

static __thread const struct log_context *current_context;

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

void log_set_format(enum log_format format)
{
    log_target.format = format;
}

void log_set_fd(int fd)
{
    if (log_target.fd > STDERR_FILENO)
        close(log_target.fd);
    log_target.fd = fd;
}

/* The index of a name, or -EINVAL. */
static int name_find(const char *const *names, size_t count, const char *name)
{
    for (size_t i = 0; i < count; i++) {
        if (strcmp(name, names[i]) == 0)
            return (int)i;
    }
    return -EINVAL;
}

int log_level_parse(const char *name, enum log_level *level)
{
    static const char *const names[] = {"error", "warning", "info", "debug"};
    int index = name_find(names, ARRAY_SIZE(names), name);
    if (index < 0)
        return index;
    *level = (enum log_level)index;
    return 0;
}

int log_format_parse(const char *name, enum log_format *format)
{
    static const char *const names[] = {"text", "json", "journal"};
    int index = name_find(names, ARRAY_SIZE(names), name);
    if (index < 0)
        return index;
    *format = (enum log_format)index;
    return 0;
}

void log_context_begin(struct log_context *context, const char *instance, const char *operation)
{
    *context = (struct log_context){instance, operation, current_context};
    current_context = context;
}

void cleanup_log_context(struct log_context *context)
{
    current_context = context->outer;
}

const struct log_context *log_context_current(void)
{
    return current_context;
}

/* A line that grows to its limit and then takes no more. */
struct line {
    char text[LINE_SIZE];
    size_t length;
};

static void put(struct line *line, const char *text, size_t length)
{
    if (length > sizeof(line->text) - line->length)
        return;
    memcpy(line->text + line->length, text, length);
    line->length += length;
}

static void put_text(struct line *line, const char *text)
{
    put(line, text, strlen(text));
}

/* Nothing in a line may end it or steer a terminal. */
static void put_plain(struct line *line, const char *text, size_t length)
{
    for (size_t i = 0; i < length; i++) {
        bool control = (unsigned char)text[i] < 0x20 || text[i] == 0x7f;
        put(line, control ? "?" : text + i, 1);
    }
}

static void put_json_string(struct line *line, const char *text, size_t length)
{
    put_text(line, "\"");
    for (size_t i = 0; i < length;) {
        size_t sequence = utf8_sequence(text + i, length - i);
        if (sequence == 1 && (text[i] == '"' || text[i] == '\\'))
            put_text(line, "\\");
        if (sequence > 1)
            put(line, text + i, sequence);
        else if (sequence == 0)
            put_text(line, "?");
        else
            put_plain(line, text + i, 1);
        i += sequence > 0 ? sequence : 1;
    }
    put_text(line, "\"");
}

static void put_member(struct line *line, const char *key, const char *value, size_t length)
{
    put_text(line, line->length > 0 ? "," : "{");
    put_json_string(line, key, strlen(key));
    put_text(line, ":");
    put_json_string(line, value, length);
}

/* key=value, quoted if it holds what would end it. */
static void put_field(struct line *line, const char *key, const char *value, size_t length)
{
    bool quoted = length == 0;
    for (size_t i = 0; i < length; i++)
        quoted = quoted || value[i] == ' ' || value[i] == '"' || value[i] == '=';
    put_text(line, " ");
    put_text(line, key);
    put_text(line, "=");
    put_text(line, quoted ? "\"" : "");
    for (size_t i = 0; i < length; i++) {
        if (value[i] == '"' || value[i] == '\\')
            put_text(line, "\\");
        put_plain(line, value + i, 1);
    }
    put_text(line, quoted ? "\"" : "");
}

typedef void field_writer(struct line *line, const char *key, const char *value, size_t length);

static void put_fields(struct line *line, field_writer *write_field, const struct log_field *fields,
                       size_t count)
{
    const struct log_context *context = current_context;
    for (size_t i = 0; i < count; i++)
        write_field(line, fields[i].key, fields[i].value, strnlen(fields[i].value, FIELD_MAX));
    if (context && context->instance)
        write_field(line, "instance", context->instance, strnlen(context->instance, FIELD_MAX));
    if (context && context->operation)
        write_field(line, "operation", context->operation, strnlen(context->operation, FIELD_MAX));
}

static void put_line(struct line *line, enum log_level level, const char *message,
                     const struct log_field *fields, size_t count)
{
    static const char *const names[] = {"ERROR", "WARNING", "INFO", "DEBUG"};
    static const char *const priorities[] = {"<3>", "<4>", "<6>", "<7>"}; /* sd-daemon(3) */
    char now[32];
    time_format_rfc3339(time_realtime_ns(), now);
    if (log_target.format == LOG_FORMAT_JSON) {
        put_member(line, "time", now, strlen(now));
        put_member(line, "level", names[level], strlen(names[level]));
        put_member(line, "program", log_target.program, strlen(log_target.program));
        put_member(line, "message", message, strlen(message));
        put_fields(line, put_member, fields, count);
        put_text(line, "}\n");
        return;
    }
    if (log_target.format == LOG_FORMAT_JOURNAL) { /* the journal knows time and level */
        put_text(line, priorities[level]);
    } else {
        put_text(line, now);
        put_text(line, " ");
        put_text(line, names[level]);
        put_text(line, " ");
    }
    put_text(line, log_target.program);
    put_text(line, ": ");
    put_plain(line, message, strlen(message));
    put_fields(line, put_field, fields, count);
    put_text(line, "\n");
}

static void write_line(enum log_level level, const struct log_field *fields, size_t count,
                       const char *format, va_list args)
{
    char message[MESSAGE_SIZE] = "";
    struct line line;
    vsnprintf(message, sizeof(message), format, args);
    line.length = 0;
    put_line(&line, level, message, fields, count);
    /* A log line that can't be written has nowhere else to go. */
    if (write(log_target.fd, line.text, line.length) < 0)
        return;
}

void log_line_fields(enum log_level level, const struct log_field *fields, size_t count,
                     const char *format, ...)
{
    if (level > log_target.level)
        return;
    va_list args;
    va_start(args, format);
    write_line(level, fields, count, format, args);
    va_end(args);
}

void log_line(enum log_level level, const char *format, ...)
{
    if (level > log_target.level)
        return;
    va_list args;
    va_start(args, format);
    write_line(level, NULL, 0, format, args);
    va_end(args);
}
