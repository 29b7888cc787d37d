/* SPDX-License-Identifier: Apache-2.0 */
/* The two directions of an exec, without blocking: the host's frames come in one by one, output
 * goes out one frame at a time. */
#ifndef TINE_AGENT_GUEST_EXEC_STREAM_H
#define TINE_AGENT_GUEST_EXEC_STREAM_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "agent/protocol.h"

#define EXEC_OUTPUT_CHUNK (32u << 10)
#define EXEC_INPUT_QUEUE  (256u << 10)

/* Takes in one frame, however it is cut up. */
struct frame_input {
    uint8_t data[AGENT_FRAME_HEADER + AGENT_FRAME_LIMIT];
    size_t length;
};
/* 1 and a frame (valid until the next call), 0 not whole yet, -EPIPE the host closed, -EPROTO. */
int frame_input_read(struct frame_input *input, int socket, struct agent_frame *frame);

/* Holds one frame on its way out. */
struct frame_output {
    uint8_t data[AGENT_FRAME_HEADER + EXEC_OUTPUT_CHUNK];
    size_t length, sent;
};
bool frame_output_pending(const struct frame_output *output);
/* Takes up to `limit` bytes from `fd` as a frame of that type: how many, 0 at the end, -EAGAIN. */
ssize_t frame_output_take(struct frame_output *output, uint8_t type, int fd, size_t limit);
/* Makes a frame of these fields; they fit. */
void frame_output_put(struct frame_output *output, uint8_t type, const struct agent_fields *fields);
/* Writes what the host takes: 0, or a negative errno once it is gone. */
int frame_output_flush(struct frame_output *output, int socket);

/* What the command has yet to read from its standard input. */
struct input_queue {
    uint8_t data[EXEC_INPUT_QUEUE];
    size_t length;
    bool ended; /* nothing will follow */
};
/* True while there is room for the largest frame. */
bool input_queue_has_room(const struct input_queue *queue);
void input_queue_add(struct input_queue *queue, const void *data, size_t length);
/* Writes what the command takes: 0, or -EPIPE if it has closed its input. */
int input_queue_flush(struct input_queue *queue, int fd);

#endif
