/* SPDX-License-Identifier: Apache-2.0 */
/* GET /instances/{id}/logs: one server-sent event per line. The log of operations is in two files,
 * which are one to the reader. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "api/event_stream.h"
#include "api/json_text.h"
#include "api/log_lines.h"
#include "api/query.h"
#include "api/routes.h"
#include "base/cleanup.h"
#include "base/clock.h"

#define TAIL_DEFAULT 100
#define REOPEN_MS    1000

struct log_request {
    uint64_t tail;
    bool follow;
    enum instance_log log;
};

struct log_stream {
    const struct request *request;
    struct log_request options;
    struct log_lines older, lines;
    uint64_t reopened_ns;
};

static const struct {
    const char *name;
    enum instance_log log;
} sources[] = {
    {"app", INSTANCE_LOG_CONSOLE},
    {"vmm", INSTANCE_LOG_VMM},
    {"hypeman", INSTANCE_LOG_OPERATIONS},
};

static void source_read(const char *name, enum instance_log *log, struct problem *problem)
{
    for (size_t i = 0; i < ARRAY_SIZE(sources); i++) {
        if (strcmp(sources[i].name, name) == 0) {
            *log = sources[i].log;
            return;
        }
    }
    problem_set(problem, 400, PROBLEM_BAD_REQUEST,
                "source: must be app, vmm or hypeman, not \"%.32s\"", name);
}

static void parameters_read(const struct request *request, struct log_request *options,
                            struct problem *problem)
{
    const char *tail = uri_query(&request->uri, "tail");
    const char *source = uri_query(&request->uri, "source");
    options->tail = TAIL_DEFAULT;
    if (tail) {
        char *end;
        errno = 0;
        options->tail = strtoull(tail, &end, 10);
        if (errno != 0 || *end || *tail < '0' || *tail > '9')
            problem_set(problem, 400, PROBLEM_BAD_REQUEST,
                        "tail: must be a whole number, not \"%.32s\"", tail);
    }
    query_bool(&request->uri, "follow", &options->follow, problem);
    if (source)
        source_read(source, &options->log, problem);
}

/* The instance may be gone, or a new VMM writes a new file. */
static int follow_file(struct log_stream *stream)
{
    if (time_monotonic_ns() - stream->reopened_ns < REOPEN_MS * 1000000ull)
        return 0;
    stream->reopened_ns = time_monotonic_ns();
    int fd = instance_log_open(stream->request->server->host, stream->request->id,
                               stream->options.log, NULL);
    return fd < 0 ? fd : log_lines_reopen(&stream->lines, fd);
}

static int next_line(struct log_stream *stream, const char **line, size_t *length)
{
    if (stream->older.fd >= 0) {
        int r = log_lines_next(&stream->older, true, line, length);
        if (r != 0)
            return r;
        log_lines_close(&stream->older);
    }
    return log_lines_next(&stream->lines, !stream->options.follow, line, length);
}

static int stream_next(void *data, json_t **value)
{
    struct log_stream *stream = data;
    const char *line;
    size_t length;
    int r = next_line(stream, &line, &length);
    if (r == 0)
        return !stream->options.follow || follow_file(stream) < 0 ? -ENODATA : 0;
    if (r < 0)
        return r;
    *value = json_text(line, length);
    return *value ? 1 : -ENOMEM;
}

static void stream_free(void *data)
{
    struct log_stream *stream = data;
    log_lines_close(&stream->older);
    log_lines_close(&stream->lines);
    free(stream);
}

/* What the tail lacks may be in the file before, if there is one. */
static int older_open(struct log_stream *stream)
{
    uint64_t lacks = stream->options.tail - stream->lines.tail;
    int fd = lacks == 0 ? -1
                        : instance_log_open(stream->request->server->host, stream->request->id,
                                            INSTANCE_LOG_OPERATIONS_OLDER, NULL);
    return fd < 0 ? 0 : log_lines_open(&stream->older, fd, lacks);
}

static int stream_open(struct log_stream *stream, struct problem *problem)
{
    struct error err = {0};
    stream->older.fd = stream->lines.fd = -1;
    int fd = instance_log_open(stream->request->server->host, stream->request->id,
                               stream->options.log, &err);
    if (fd < 0) {
        if (err.code == ERROR_NOT_FOUND || fd == -ENOENT)
            problem_set(problem, 404, "log_not_found", "%s", err.message);
        problem_from_error(problem, &err);
        return fd;
    }
    int r = log_lines_open(&stream->lines, fd, stream->options.tail);
    if (r == 0 && stream->options.log == INSTANCE_LOG_OPERATIONS)
        r = older_open(stream);
    if (r < 0)
        problem_set(problem, 500, "internal_error", "read the log: %s", strerror(-r));
    return r;
}

enum MHD_Result instance_logs_stream(struct request *request)
{
    struct problem problem = {0};
    struct log_request options = {0};
    struct instance_record record;
    struct error err = {0};
    if (instance_get(request->server->host, request->reference, &record, &err) < 0)
        return reply_error(request, &err);
    memcpy(request->id, record.id, sizeof(request->id));
    parameters_read(request, &options, &problem);
    if (problem.status != 0)
        return reply_problem(request, &problem);
    struct log_stream *stream = calloc(1, sizeof(*stream));
    if (!stream)
        return MHD_NO;
    stream->request = request;
    stream->options = options;
    stream->reopened_ns = time_monotonic_ns();
    if (stream_open(stream, &problem) == 0)
        return reply_event_stream(request,
                                  &(struct event_source){stream_next, stream_free, stream});
    stream_free(stream);
    return reply_problem(request, &problem);
}
