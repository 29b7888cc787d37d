/* SPDX-License-Identifier: Apache-2.0 */
#include "websocket_client.h"

#include <endian.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cmocka.h>
#include <jansson.h>

#include "http_client.h"

static char *handshake_of(const char *instance, const char *route)
{
    char *text = NULL;
    assert_true(asprintf(&text,
                         "GET /instances/%s/%s HTTP/1.1\r\nHost: tined\r\nUpgrade: websocket\r\n"
                         "Connection: keep-alive, Upgrade\r\nSec-WebSocket-Version: 13\r\n"
                         "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n",
                         instance, route) > 0);
    return text;
}

char *ws_handshake(const char *instance)
{
    return handshake_of(instance, "exec");
}

static bool receive_exact(int fd, void *buffer, size_t length)
{
    char *at = buffer;
    while (length > 0) {
        ssize_t n = recv(fd, at, length, 0);
        if (n <= 0)
            return false;
        at += n;
        length -= (size_t)n;
    }
    return true;
}

int ws_open_route(const struct daemon *daemon, const char *instance, const char *route)
{
    int fd = http_open(daemon);
    char *request = handshake_of(instance, route), head[2048] = "";
    http_send_text(fd, request);
    free(request);
    for (size_t n = 0; !strstr(head, "\r\n\r\n"); n++) {
        assert_true(n + 1 < sizeof(head));
        assert_true(receive_exact(fd, head + n, 1));
        head[n + 1] = '\0';
    }
    assert_int_equal(strncmp(head, "HTTP/1.1 101 ", 13), 0);
    assert_non_null(strcasestr(head, "\r\nUpgrade: websocket\r\n"));
    assert_non_null(strcasestr(head, "\r\nConnection: Upgrade\r\n"));
    assert_non_null(strstr(head, "\r\nSec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n"));
    return fd;
}

int ws_open(const struct daemon *daemon, const char *instance)
{
    return ws_open_route(daemon, instance, "exec");
}

static size_t header_write(uint8_t *header, uint8_t first, size_t length, uint8_t mask)
{
    header[0] = first;
    if (length < 126) {
        header[1] = (uint8_t)(mask | length);
        return 2;
    }
    if (length <= UINT16_MAX) {
        uint16_t wire = htobe16((uint16_t)length);
        header[1] = mask | 126;
        memcpy(header + 2, &wire, sizeof(wire));
        return 4;
    }
    uint64_t wire = htobe64(length);
    header[1] = mask | 127;
    memcpy(header + 2, &wire, sizeof(wire));
    return 10;
}

void ws_send(int fd, uint8_t first, const void *payload, size_t length)
{
    static const uint8_t mask[4] = {0x12, 0x34, 0x56, 0x78};
    uint8_t *frame = malloc(length + 14);
    size_t used = header_write(frame, first, length, 0x80);
    memcpy(frame + used, mask, sizeof(mask));
    used += sizeof(mask);
    for (size_t i = 0; i < length; i++)
        frame[used + i] = ((const uint8_t *)payload)[i] ^ mask[i % 4];
    http_send(fd, frame, used + length);
    free(frame);
}

void ws_send_unmasked(int fd, uint8_t first, const void *payload, size_t length)
{
    uint8_t header[14];
    http_send(fd, header, header_write(header, first, length, 0));
    http_send(fd, payload, length);
}

void ws_text(int fd, const char *text)
{
    ws_send(fd, WS_FIN | WS_TEXT, text, strlen(text));
}

struct ws_frame ws_receive(int fd)
{
    uint8_t header[2];
    uint16_t length16;
    uint64_t length = 0;
    struct ws_frame frame = {0};
    if (!receive_exact(fd, header, sizeof(header)))
        return frame;
    assert_int_equal(header[1] & 0x80, 0); /* a server must not mask */
    assert_int_equal(header[0] & 0x70, 0);
    length = header[1];
    if (length == 126) {
        assert_true(receive_exact(fd, &length16, sizeof(length16)));
        length = be16toh(length16);
    } else if (length == 127) {
        assert_true(receive_exact(fd, &length, sizeof(length)));
        length = be64toh(length);
    }
    assert_true(length <= 1 << 24);
    frame.first = header[0];
    frame.length = length;
    frame.payload = malloc(length + 1);
    frame.payload[length] = '\0';
    if (!receive_exact(fd, frame.payload, length))
        frame.first = 0;
    return frame;
}

/* The room for that many bytes: powers of two, so that long outputs are not copied all the time. */
static size_t room_for(size_t bytes)
{
    size_t room = 64;
    while (room < bytes)
        room *= 2;
    return room;
}

static void append(char **text, size_t *used, const char *bytes, size_t length)
{
    size_t room = room_for(*used + length + 1);
    if (!*text || room != room_for(*used + 1))
        *text = realloc(*text, room);
    assert_non_null(*text);
    memcpy(*text + *used, bytes, length);
    *used += length;
    (*text)[*used] = '\0';
}

static void take_text(struct ws_result *result, const struct ws_frame *frame)
{
    json_t *json = json_loads(frame->payload, 0, NULL);
    assert_non_null(json);
    if (json_is_integer(json_object_get(json, "exitCode")))
        result->exit_code = (int)json_integer_value(json_object_get(json, "exitCode"));
    json_decref(json);
    free(result->last_text);
    result->last_text = strdup(frame->payload);
}

static void take_output(struct ws_result *result, const struct ws_frame *frame, bool streams)
{
    if (!streams) {
        append(&result->out, &result->out_length, frame->payload, frame->length);
        return;
    }
    assert_true(frame->length > 0);
    assert_true(frame->payload[0] == 1 || frame->payload[0] == 2);
    size_t length = frame->length > 0 ? frame->length - 1 : 0;
    if (frame->payload[0] == 1)
        append(&result->out, &result->out_length, frame->payload + 1, length);
    else
        append(&result->err, &result->err_length, frame->payload + 1, length);
}

struct ws_result ws_finish(int fd, bool streams)
{
    struct ws_result result = {.exit_code = -1};
    append(&result.out, &result.out_length, "", 0);
    append(&result.err, &result.err_length, "", 0);
    for (;;) {
        struct ws_frame frame = ws_receive(fd);
        unsigned opcode = frame.first & 0x0f;
        if (frame.first != 0 && opcode != WS_CLOSE && result.last_text)
            result.order_broken = true;
        if (opcode == WS_TEXT)
            take_text(&result, &frame);
        else if (opcode == WS_BINARY)
            take_output(&result, &frame, streams);
        else if (opcode == WS_PONG)
            result.pongs++;
        else if (opcode == WS_CLOSE && frame.length >= 2)
            result.close_code =
                (unsigned)((uint8_t)frame.payload[0] << 8 | (uint8_t)frame.payload[1]);
        free(frame.payload);
        if (frame.first == 0)
            break;
    }
    close(fd);
    return result;
}

void ws_release(struct ws_result *result)
{
    free(result->out);
    free(result->err);
    free(result->last_text);
}

struct ws_result ws_exec(const struct daemon *daemon, const char *instance, const char *request,
                         bool streams)
{
    int fd = ws_open(daemon, instance);
    ws_text(fd, request);
    return ws_finish(fd, streams);
}
