/* SPDX-License-Identifier: Apache-2.0 */
#include "agent/protocol.h"

#include <endian.h>
#include <errno.h>
#include <stdbool.h>
#include <string.h>

#include "agent/stream.h"

#define FIELD_HEADER 8u

void agent_header_encode(uint8_t header[AGENT_FRAME_HEADER], uint8_t type, uint32_t length)
{
    uint32_t wire = htole32(length);
    memset(header, 0, AGENT_FRAME_HEADER);
    memcpy(header, &wire, sizeof(wire));
    header[4] = type;
}

int agent_header_decode(const uint8_t header[AGENT_FRAME_HEADER], uint8_t *type, uint32_t *length)
{
    uint32_t wire;
    memcpy(&wire, header, sizeof(wire));
    *length = le32toh(wire);
    *type = header[4];
    if (header[5] != 0 || header[6] != 0 || header[7] != 0 || *length > AGENT_FRAME_LIMIT)
        return -EPROTO;
    return 0;
}

static int stream_failed(int r, const char *what, struct error *err)
{
    if (r == -ETIMEDOUT)
        return error_set(err, ERROR_TIMEOUT, ETIMEDOUT, "%s: no progress before the deadline",
                         what);
    return error_errno(err, -r, NULL, "%s", what);
}

int agent_frame_write_until(int fd, uint8_t type, const void *payload, size_t length,
                            uint64_t deadline_ns, struct error *err)
{
    if (length > AGENT_FRAME_LIMIT)
        return error_set(err, ERROR_INVALID, EMSGSIZE,
                         "write agent frame: %zu bytes, the limit is %u", length,
                         AGENT_FRAME_LIMIT);
    uint8_t header[AGENT_FRAME_HEADER];
    agent_header_encode(header, type, (uint32_t)length);
    struct iovec parts[2] = {
        {.iov_base = header, .iov_len = sizeof(header)},
        {.iov_base = (void *)(uintptr_t)payload, .iov_len = length}, /* only read from */
    };
    int r = stream_write(fd, parts, deadline_ns);
    return r < 0 ? stream_failed(r, "write agent frame", err) : 0;
}

int agent_frame_write(int fd, uint8_t type, const void *payload, size_t length, struct error *err)
{
    return agent_frame_write_until(fd, type, payload, length, 0, err);
}

int agent_frame_read_until(int fd, uint8_t *buffer, struct agent_frame *frame, uint64_t deadline_ns,
                           struct error *err)
{
    uint8_t header[AGENT_FRAME_HEADER];
    size_t done = 0;
    int r = stream_read(fd, header, sizeof(header), deadline_ns, &done);
    if (r < 0)
        return stream_failed(r, "read agent frame", err);
    if (done == 0)
        return 0;
    bool whole = done == sizeof(header);
    if (whole && agent_header_decode(header, &frame->type, &frame->length) < 0)
        return error_set(err, ERROR_CORRUPT, EPROTO, "read agent frame: not a frame's header");
    if (whole) {
        r = stream_read(fd, buffer, frame->length, deadline_ns, &done);
        if (r < 0)
            return stream_failed(r, "read agent frame", err);
        whole = done == frame->length;
    }
    if (!whole)
        return error_set(err, ERROR_SYSTEM, ECONNRESET,
                         "read agent frame: the connection ends within it");
    frame->payload = buffer;
    return 1;
}

int agent_frame_read(int fd, uint8_t *buffer, struct agent_frame *frame, struct error *err)
{
    return agent_frame_read_until(fd, buffer, frame, 0, err);
}

void agent_field_put(struct agent_fields *fields, uint16_t tag, const void *value, size_t length)
{
    size_t room = fields->capacity - fields->length;
    if (fields->overflow || room < FIELD_HEADER || length > room - FIELD_HEADER) {
        fields->overflow = 1;
        return;
    }
    uint16_t wire_tag = htole16(tag);
    uint32_t wire_length = htole32((uint32_t)length);
    uint8_t *at = fields->data + fields->length;
    memset(at, 0, FIELD_HEADER);
    memcpy(at, &wire_tag, sizeof(wire_tag));
    memcpy(at + 4, &wire_length, sizeof(wire_length));
    if (length > 0)
        memcpy(at + FIELD_HEADER, value, length);
    fields->length += FIELD_HEADER + length;
}

void agent_field_put_text(struct agent_fields *fields, uint16_t tag, const char *text)
{
    agent_field_put(fields, tag, text, strlen(text));
}

void agent_field_put_u32(struct agent_fields *fields, uint16_t tag, uint32_t value)
{
    uint32_t wire = htole32(value);
    agent_field_put(fields, tag, &wire, sizeof(wire));
}

void agent_field_put_u64(struct agent_fields *fields, uint16_t tag, uint64_t value)
{
    uint64_t wire = htole64(value);
    agent_field_put(fields, tag, &wire, sizeof(wire));
}

int agent_field_next(const void *data, size_t length, size_t *offset, uint16_t *tag,
                     const uint8_t **value, uint32_t *value_length)
{
    if (*offset == length)
        return 0;
    if (*offset > length || length - *offset < FIELD_HEADER)
        return -EPROTO;
    const uint8_t *at = (const uint8_t *)data + *offset;
    uint16_t wire_tag, reserved;
    uint32_t wire_length;
    memcpy(&wire_tag, at, sizeof(wire_tag));
    memcpy(&reserved, at + 2, sizeof(reserved));
    memcpy(&wire_length, at + 4, sizeof(wire_length));
    if (reserved != 0 || le32toh(wire_length) > length - *offset - FIELD_HEADER)
        return -EPROTO;
    *tag = le16toh(wire_tag);
    *value = at + FIELD_HEADER;
    *value_length = le32toh(wire_length);
    *offset += FIELD_HEADER + *value_length;
    return 1;
}

int agent_fields_each(const struct agent_frame *frame, agent_field_take *take, void *context)
{
    size_t offset = 0;
    uint16_t tag;
    const uint8_t *value;
    uint32_t length;
    int r;
    while ((r = agent_field_next(frame->payload, frame->length, &offset, &tag, &value, &length)) >
           0) {
        r = take(context, tag, value, length);
        if (r < 0)
            return r;
    }
    return r;
}

int agent_value_u32(const uint8_t *value, uint32_t length, uint32_t *number)
{
    uint32_t wire;
    if (length != sizeof(wire))
        return -EPROTO;
    memcpy(&wire, value, sizeof(wire));
    *number = le32toh(wire);
    return 0;
}

int agent_value_u64(const uint8_t *value, uint32_t length, uint64_t *number)
{
    uint64_t wire;
    if (length != sizeof(wire))
        return -EPROTO;
    memcpy(&wire, value, sizeof(wire));
    *number = le64toh(wire);
    return 0;
}

void agent_value_text(const uint8_t *value, uint32_t length, char *text, size_t size)
{
    size_t n = length < size - 1 ? length : size - 1;
    for (size_t i = 0; i < n; i++)
        text[i] = value[i] < 0x20 || value[i] == 0x7f ? '?' : (char)value[i];
    text[n] = '\0';
}
