/* SPDX-License-Identifier: Apache-2.0 */
/* GET /instances/{id}/logs: one server-sent event per line. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "api/json_text.h"
#include "api/log_lines.h"
#include "api/routes.h"
#include "base/cleanup.h"
#include "base/clock.h"

#define TAIL_DEFAULT  100
#define POLL_MS       200
#define REOPEN_MS     1000
#define KEEP_ALIVE_MS 15000
#define BLOCK_SIZE    (32u << 10)

struct log_request {
    uint64_t tail;
    bool follow, vmm;
};

struct log_stream {
    const struct request *request;
    struct log_request options;
    struct log_lines lines;
    char *event; /* what is being sent */
    size_t event_length, event_sent;
    uint64_t reopened_ns, sent_ns;
};

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
    request_query_bool(request, "follow", &options->follow, problem);
    if (!source || strcmp(source, "app") == 0)
        return;
    options->vmm = strcmp(source, "vmm") == 0;
    if (strcmp(source, "hypeman") == 0)
        problem_set(problem, 404, "log_not_found", "there is no log of operations");
    else if (!options->vmm)
        problem_set(problem, 400, PROBLEM_BAD_REQUEST, "source: must be app or vmm, not \"%.32s\"",
                    source);
}

static void event_set(struct log_stream *stream, char *event)
{
    free(stream->event);
    stream->event = event;
    stream->event_length = event ? strlen(event) : 0;
    stream->event_sent = 0;
    stream->sent_ns = time_monotonic_ns();
}

/* The data is a JSON string: clients decode it, and stop at the first that is none. */
static int event_of_line(struct log_stream *stream, const char *line, size_t length)
{
    json_t *text = json_text(line, length);
    _cleanup_(free) char *literal = json_dumps(text, JSON_ENCODE_ANY);
    json_decref(text);
    char *event = NULL;
    if (!literal || asprintf(&event, "data: %s\n\n", literal) < 0)
        return -ENOMEM;
    event_set(stream, event);
    return 0;
}

/* The instance may be gone, or a new VMM writes a new file. */
static int follow_file(struct log_stream *stream)
{
    if (time_monotonic_ns() - stream->reopened_ns < REOPEN_MS * 1000000ull)
        return 0;
    stream->reopened_ns = time_monotonic_ns();
    int fd = instance_log_open(stream->request->server->host, stream->request->id,
                               stream->options.vmm, NULL);
    return fd < 0 ? fd : log_lines_reopen(&stream->lines, fd);
}

/* Blocks until there is something to send; -ENODATA at the end of the stream. */
static int event_next(struct log_stream *stream)
{
    for (;;) {
        const char *line;
        size_t length;
        int r = log_lines_next(&stream->lines, !stream->options.follow, &line, &length);
        if (r < 0)
            return r;
        if (r > 0)
            return event_of_line(stream, line, length);
        if (!stream->options.follow || request_wait(stream->request, POLL_MS) ||
            follow_file(stream) < 0)
            return -ENODATA;
        if (time_monotonic_ns() - stream->sent_ns >= KEEP_ALIVE_MS * 1000000ull) {
            /* A comment alone: an empty line behind it would make an event without data. */
            event_set(stream, strdup(":\n"));
            return stream->event ? 0 : -ENOMEM;
        }
    }
}

static ssize_t on_read(void *data, uint64_t position, char *buffer, size_t size)
{
    struct log_stream *stream = data;
    if (stream->event_sent == stream->event_length) {
        int r = event_next(stream);
        if (r < 0)
            return r == -ENODATA ? MHD_CONTENT_READER_END_OF_STREAM
                                 : MHD_CONTENT_READER_END_WITH_ERROR;
    }
    size_t n = stream->event_length - stream->event_sent;
    if (n > size)
        n = size;
    memcpy(buffer, stream->event + stream->event_sent, n);
    stream->event_sent += n;
    return (ssize_t)n;
}

static void stream_free(void *data)
{
    struct log_stream *stream = data;
    log_lines_close(&stream->lines);
    free(stream->event);
    free(stream);
}

static int stream_open(struct log_stream *stream, struct problem *problem)
{
    struct error err = {0};
    stream->lines.fd = -1;
    int fd = instance_log_open(stream->request->server->host, stream->request->id,
                               stream->options.vmm, &err);
    if (fd < 0) {
        if (err.code == ERROR_NOT_FOUND || fd == -ENOENT)
            problem_set(problem, 404, "log_not_found", "%s", err.message);
        problem_from_error(problem, &err);
        return fd;
    }
    int r = log_lines_open(&stream->lines, fd, stream->options.tail);
    if (r < 0)
        problem_set(problem, 500, "internal_error", "read the log: %s", strerror(-r));
    return r;
}

static enum MHD_Result reply_stream(struct request *request, struct log_stream *stream)
{
    static const char *const headers[][2] = {
        {MHD_HTTP_HEADER_CONTENT_TYPE, "text/event-stream"},
        {MHD_HTTP_HEADER_CACHE_CONTROL, "no-cache"},
        {"X-Accel-Buffering", "no"},
    };
    struct MHD_Response *response = MHD_create_response_from_callback(MHD_SIZE_UNKNOWN, BLOCK_SIZE,
                                                                      on_read, stream, stream_free);
    if (!response) {
        stream_free(stream);
        return MHD_NO;
    }
    for (size_t i = 0; i < ARRAY_SIZE(headers); i++)
        MHD_add_response_header(response, headers[i][0], headers[i][1]);
    request_becomes_stream(request);
    enum MHD_Result r = reply_response(request, MHD_HTTP_OK, response);
    MHD_destroy_response(response);
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
    stream->reopened_ns = stream->sent_ns = time_monotonic_ns();
    if (stream_open(stream, &problem) == 0)
        return reply_stream(request, stream);
    stream_free(stream);
    return reply_problem(request, &problem);
}
