/* SPDX-License-Identifier: Apache-2.0 */
#include "fake_frames.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "agent/protocol.h"

void fake_put(struct fake_fields *fields, uint16_t tag, const void *value, uint32_t length)
{
    const uint16_t zero = 0;
    if (fields->length + 8 + length > sizeof(fields->data))
        abort();
    memcpy(fields->data + fields->length, &tag, 2);
    memcpy(fields->data + fields->length + 2, &zero, 2);
    memcpy(fields->data + fields->length + 4, &length, 4);
    memcpy(fields->data + fields->length + 8, value, length);
    fields->length += 8 + length;
}

void fake_put_text(struct fake_fields *fields, uint16_t tag, const char *text)
{
    fake_put(fields, tag, text, (uint32_t)strlen(text));
}

void fake_put_exit(struct fake_fields *fields, int32_t code)
{
    fake_put(fields, AGENT_TAG_EXIT_CODE, &code, sizeof(code));
}

static int write_all(int fd, const void *data, size_t length)
{
    for (size_t done = 0; done < length;) {
        ssize_t n = write(fd, (const char *)data + done, length - done);
        if (n <= 0)
            return -1;
        done += (size_t)n;
    }
    return 0;
}

static int read_all(int fd, void *data, size_t length)
{
    for (size_t done = 0; done < length;) {
        ssize_t n = read(fd, (char *)data + done, length - done);
        if (n <= 0)
            return -1;
        done += (size_t)n;
    }
    return 0;
}

int fake_send_frame(int fd, uint8_t type, const void *payload, size_t length)
{
    uint8_t header[AGENT_FRAME_HEADER] = {0};
    const uint32_t size = (uint32_t)length;
    memcpy(header, &size, 4);
    header[4] = type;
    return write_all(fd, header, sizeof(header)) < 0 ? -1 : write_all(fd, payload, length);
}

int fake_send_fields(int fd, uint8_t type, const struct fake_fields *fields)
{
    return fake_send_frame(fd, type, fields->data, fields->length);
}

int fake_read_frame(int fd, uint8_t *payload, uint32_t *length)
{
    uint8_t header[AGENT_FRAME_HEADER];
    if (read_all(fd, header, sizeof(header)) < 0)
        return -1;
    memcpy(length, header, 4);
    if (*length > AGENT_FRAME_LIMIT || read_all(fd, payload, *length) < 0)
        return -1;
    return header[4];
}

int fake_texts_of(const uint8_t *payload, uint32_t length, uint16_t wanted, char **texts, int max)
{
    int count = 0;
    for (uint32_t at = 0; at + 8 <= length;) {
        uint16_t tag;
        uint32_t size;
        memcpy(&tag, payload + at, 2);
        memcpy(&size, payload + at + 4, 4);
        at += 8;
        if (size > length - at)
            break;
        if (tag == wanted && count < max)
            texts[count++] = strndup((const char *)payload + at, size);
        at += size;
    }
    return count;
}

uint32_t fake_timeout_of(const uint8_t *payload, uint32_t length)
{
    uint32_t value = 0;
    for (uint32_t at = 0; at + 12 <= length;) {
        uint16_t tag;
        uint32_t size;
        memcpy(&tag, payload + at, 2);
        memcpy(&size, payload + at + 4, 4);
        if (size > length - at - 8)
            break;
        if (tag == AGENT_TAG_TIMEOUT_MS && size == 4)
            memcpy(&value, payload + at + 8, 4);
        at += 8 + size;
    }
    return value;
}
