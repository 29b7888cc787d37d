/* SPDX-License-Identifier: Apache-2.0 */
/* The handshake's proof that the server speaks WebSocket: RFC 6455, section 4.2.2. */
#include <stdio.h>
#include <string.h>

#include "api/websocket.h"
#include "base/sha1.h"

#define HANDSHAKE_GUID "258EAFA5-E914-47DA-95CA-C5AB0DC85B11"

void websocket_base64(const uint8_t *data, size_t length, char *text)
{
    static const char alphabet[] =
        "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    for (size_t i = 0; i < length; i += 3) {
        uint32_t bits = (uint32_t)data[i] << 16;
        bits |= i + 1 < length ? (uint32_t)data[i + 1] << 8 : 0;
        bits |= i + 2 < length ? data[i + 2] : 0;
        *text++ = alphabet[bits >> 18];
        *text++ = alphabet[bits >> 12 & 63];
        *text++ = i + 1 < length ? alphabet[bits >> 6 & 63] : '=';
        *text++ = i + 2 < length ? alphabet[bits & 63] : '=';
    }
    *text = '\0';
}

void websocket_accept(const char *key, char accept[WEBSOCKET_ACCEPT_SIZE])
{
    char text[128];
    uint8_t digest[SHA1_LENGTH];
    int length = snprintf(text, sizeof(text), "%.64s%s", key, HANDSHAKE_GUID);
    sha1(text, (size_t)length, digest);
    websocket_base64(digest, sizeof(digest), accept);
}
