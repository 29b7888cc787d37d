/* SPDX-License-Identifier: Apache-2.0 */
#include "agent/guest/exec_stream.h"

#include <errno.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <unistd.h>

/* Reads up to `wanted` bytes in all; never beyond, so that one frame is in memory at a time. */
static int frame_input_fill(struct frame_input *input, int socket, size_t wanted)
{
    while (input->length < wanted) {
        ssize_t n = recv(socket, input->data + input->length, wanted - input->length, MSG_DONTWAIT);
        if (n == 0)
            return -EPIPE;
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return errno == EAGAIN ? -EAGAIN : -EPIPE;
        input->length += (size_t)n;
    }
    return 0;
}

int frame_input_read(struct frame_input *input, int socket, struct agent_frame *frame)
{
    int r = frame_input_fill(input, socket, AGENT_FRAME_HEADER);
    if (r == 0)
        r = agent_header_decode(input->data, &frame->type, &frame->length);
    if (r == 0)
        r = frame_input_fill(input, socket, AGENT_FRAME_HEADER + frame->length);
    if (r < 0)
        return r == -EAGAIN ? 0 : r;
    frame->payload = input->data + AGENT_FRAME_HEADER;
    input->length = 0;
    return 1;
}

bool frame_output_pending(const struct frame_output *output)
{
    return output->sent < output->length;
}

ssize_t frame_output_take(struct frame_output *output, uint8_t type, int fd, size_t limit)
{
    size_t wanted = limit < EXEC_OUTPUT_CHUNK ? limit : EXEC_OUTPUT_CHUNK;
    ssize_t n = read(fd, output->data + AGENT_FRAME_HEADER, wanted);
    if (n < 0)
        return errno == EAGAIN || errno == EINTR ? -EAGAIN : 0; /* EIO: a terminal hung up */
    if (n > 0) {
        agent_header_encode(output->data, type, (uint32_t)n);
        output->length = AGENT_FRAME_HEADER + (size_t)n;
        output->sent = 0;
    }
    return n;
}

void frame_output_put(struct frame_output *output, uint8_t type, const struct agent_fields *fields)
{
    agent_header_encode(output->data, type, (uint32_t)fields->length);
    memcpy(output->data + AGENT_FRAME_HEADER, fields->data, fields->length);
    output->length = AGENT_FRAME_HEADER + fields->length;
    output->sent = 0;
}

int frame_output_flush(struct frame_output *output, int socket)
{
    while (frame_output_pending(output)) {
        ssize_t n = send(socket, output->data + output->sent, output->length - output->sent,
                         MSG_DONTWAIT | MSG_NOSIGNAL);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return errno == EAGAIN ? 0 : -errno;
        output->sent += (size_t)n;
    }
    return 0;
}

bool input_queue_has_room(const struct input_queue *queue)
{
    return sizeof(queue->data) - queue->length >= AGENT_FRAME_LIMIT;
}

void input_queue_add(struct input_queue *queue, const void *data, size_t length)
{
    if (queue->ended || length > sizeof(queue->data) - queue->length)
        return; /* callers read a frame only while there is room; input behind the end is dropped */
    memcpy(queue->data + queue->length, data, length);
    queue->length += length;
}

int input_queue_flush(struct input_queue *queue, int fd)
{
    size_t written = 0;
    int r = 0;
    while (r == 0 && written < queue->length) {
        ssize_t n = write(fd, queue->data + written, queue->length - written);
        if (n >= 0)
            written += (size_t)n;
        else if (errno == EAGAIN)
            break;
        else if (errno != EINTR)
            r = -EPIPE;
    }
    queue->length -= written;
    memmove(queue->data, queue->data + written, queue->length);
    return r;
}
