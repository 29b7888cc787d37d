/* SPDX-License-Identifier: Apache-2.0 */
#include "api/event_stream.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/clock.h"

#define POLL_MS       100
#define KEEP_ALIVE_MS 15000
#define BLOCK_SIZE    (32u << 10)

struct stream {
    const struct request *request;
    struct event_source source;
    char *event; /* what is being sent */
    size_t length, sent;
    uint64_t sent_ns;
};

static int event_set(struct stream *stream, char *event)
{
    free(stream->event);
    stream->event = event;
    stream->length = event ? strlen(event) : 0;
    stream->sent = 0;
    stream->sent_ns = time_monotonic_ns();
    return event ? 0 : -ENOMEM;
}

/* The data is JSON: clients decode it, and stop at the first that is none. */
static int event_of(struct stream *stream, json_t *value)
{
    _cleanup_(free) char *text = json_dumps(value, JSON_ENCODE_ANY | JSON_COMPACT);
    json_decref(value);
    char *event = NULL;
    if (!text || asprintf(&event, "data: %s\n\n", text) < 0)
        return -ENOMEM;
    return event_set(stream, event);
}

/* Blocks until there is something to send. */
static int event_next(struct stream *stream)
{
    for (;;) {
        json_t *value = NULL;
        int r = stream->source.next(stream->source.data, &value);
        if (r != 0)
            return r < 0 ? r : event_of(stream, value);
        if (request_wait(stream->request, POLL_MS))
            return -ENODATA;
        /* A comment alone: an empty line behind it would make an event without data. */
        if (time_monotonic_ns() - stream->sent_ns >= KEEP_ALIVE_MS * 1000000ull)
            return event_set(stream, strdup(":\n"));
    }
}

static ssize_t on_read(void *data, uint64_t position, char *buffer, size_t size)
{
    struct stream *stream = data;
    if (stream->sent == stream->length) {
        int r = event_next(stream);
        if (r < 0)
            return r == -ENODATA ? MHD_CONTENT_READER_END_OF_STREAM
                                 : MHD_CONTENT_READER_END_WITH_ERROR;
    }
    size_t n = stream->length - stream->sent;
    if (n > size)
        n = size;
    memcpy(buffer, stream->event + stream->sent, n);
    stream->sent += n;
    return (ssize_t)n;
}

static void stream_free(void *data)
{
    struct stream *stream = data;
    stream->source.release(stream->source.data);
    free(stream->event);
    free(stream);
}

static enum MHD_Result reply_stream(struct request *request, struct stream *stream)
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

enum MHD_Result reply_event_stream(struct request *request, const struct event_source *source)
{
    struct stream *stream = calloc(1, sizeof(*stream));
    if (!stream) {
        source->release(source->data);
        return MHD_NO;
    }
    stream->request = request;
    stream->source = *source;
    stream->sent_ns = time_monotonic_ns();
    return reply_stream(request, stream);
}
