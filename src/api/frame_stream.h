/* SPDX-License-Identifier: Apache-2.0 */
/* Agent frames (agent/protocol.h) on a descriptor that is polled: a guest that sends half a frame,
 * or does not read, must not hold up the rest of the session. */
#ifndef TINE_API_FRAME_STREAM_H
#define TINE_API_FRAME_STREAM_H

#include <stddef.h>
#include <stdint.h>

#include "agent/protocol.h"
#include "base/error.h"

struct frame_stream {
    int fd; /* borrowed; -1: not connected yet, frames are only queued */
    uint8_t *in;
    size_t in_length, in_used; /* in_used: the frame handed out last */
    uint8_t *out;
    size_t out_length, out_sent, out_capacity;
};

void frame_stream_release(struct frame_stream *stream);

/* Queues a frame, split into several if the payload is over the limit. -ENOMEM. */
int frame_stream_queue(struct frame_stream *stream, uint8_t type, const void *payload,
                       size_t length);
/* Writes what the other side takes. Negative errno once it is gone. */
int frame_stream_flush(struct frame_stream *stream);
size_t frame_stream_queued(const struct frame_stream *stream);

/* Takes in what has arrived: 1 something, 0 nothing yet, -EPIPE at the end of the stream. */
int frame_stream_fill(struct frame_stream *stream);
/* The next whole frame: 1 and the frame (valid until the next call), 0 if there is none yet,
 * -EPROTO if it breaks the format. */
int frame_stream_next(struct frame_stream *stream, struct agent_frame *frame);

#endif
