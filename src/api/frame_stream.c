/* SPDX-License-Identifier: Apache-2.0 */
#include "api/frame_stream.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#define IN_CAPACITY (AGENT_FRAME_HEADER + AGENT_FRAME_LIMIT)

void frame_stream_release(struct frame_stream *stream)
{
    free(stream->in);
    free(stream->out);
    *stream = (struct frame_stream){.fd = -1};
}

static int out_reserve(struct frame_stream *stream, size_t more)
{
    if (stream->out_sent > 0) {
        memmove(stream->out, stream->out + stream->out_sent, stream->out_length - stream->out_sent);
        stream->out_length -= stream->out_sent;
        stream->out_sent = 0;
    }
    if (stream->out_length + more <= stream->out_capacity)
        return 0;
    size_t capacity = 2 * (stream->out_length + more);
    uint8_t *grown = realloc(stream->out, capacity);
    if (!grown)
        return -ENOMEM;
    stream->out = grown;
    stream->out_capacity = capacity;
    return 0;
}

static int queue_one(struct frame_stream *stream, uint8_t type, const uint8_t *payload,
                     size_t length)
{
    int r = out_reserve(stream, AGENT_FRAME_HEADER + length);
    if (r < 0)
        return r;
    uint8_t *at = stream->out + stream->out_length;
    agent_header_encode(at, type, (uint32_t)length);
    if (length > 0)
        memcpy(at + AGENT_FRAME_HEADER, payload, length);
    stream->out_length += AGENT_FRAME_HEADER + length;
    return 0;
}

int frame_stream_queue(struct frame_stream *stream, uint8_t type, const void *payload,
                       size_t length)
{
    const uint8_t *at = payload;
    do {
        size_t part = length < AGENT_FRAME_LIMIT ? length : AGENT_FRAME_LIMIT;
        int r = queue_one(stream, type, at, part);
        if (r < 0)
            return r;
        at = at ? at + part : NULL;
        length -= part;
    } while (length > 0);
    return 0;
}

int frame_stream_flush(struct frame_stream *stream)
{
    while (stream->fd >= 0 && stream->out_sent < stream->out_length) {
        ssize_t n = send(stream->fd, stream->out + stream->out_sent,
                         stream->out_length - stream->out_sent, MSG_DONTWAIT | MSG_NOSIGNAL);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return errno == EAGAIN ? 0 : -errno;
        stream->out_sent += (size_t)n;
    }
    return 0;
}

size_t frame_stream_queued(const struct frame_stream *stream)
{
    return stream->out_length - stream->out_sent;
}

int frame_stream_fill(struct frame_stream *stream)
{
    if (!stream->in && !(stream->in = malloc(IN_CAPACITY)))
        return -ENOMEM;
    if (stream->in_used > 0) {
        memmove(stream->in, stream->in + stream->in_used, stream->in_length - stream->in_used);
        stream->in_length -= stream->in_used;
        stream->in_used = 0;
    }
    if (stream->in_length == IN_CAPACITY)
        return 0;
    ssize_t n;
    do
        n = recv(stream->fd, stream->in + stream->in_length, IN_CAPACITY - stream->in_length,
                 MSG_DONTWAIT);
    while (n < 0 && errno == EINTR);
    if (n < 0)
        return errno == EAGAIN ? 0 : -errno;
    stream->in_length += (size_t)n;
    return n == 0 ? -EPIPE : 1;
}

int frame_stream_next(struct frame_stream *stream, struct agent_frame *frame)
{
    size_t there = stream->in_length - stream->in_used;
    if (there < AGENT_FRAME_HEADER)
        return 0;
    uint8_t *header = stream->in + stream->in_used;
    if (agent_header_decode(header, &frame->type, &frame->length) < 0)
        return -EPROTO;
    if (there < AGENT_FRAME_HEADER + frame->length)
        return 0;
    frame->payload = header + AGENT_FRAME_HEADER;
    stream->in_used += AGENT_FRAME_HEADER + frame->length;
    return 1;
}
