/* SPDX-License-Identifier: Apache-2.0 */
/* The handshake's proof that the server speaks WebSocket: RFC 6455, section 4.2.2. */
#include <nettle/base64.h>
#include <nettle/sha1.h>
#include <stdio.h>
#include <string.h>

#include "api/websocket.h"

#define HANDSHAKE_GUID "258EAFA5-E914-47DA-95CA-C5AB0DC85B11"

void websocket_base64(const uint8_t *data, size_t length, char *text)
{
    base64_encode_raw(text, length, data);
    text[BASE64_ENCODE_RAW_LENGTH(length)] = '\0';
}

void websocket_accept(const char *key, char accept[WEBSOCKET_ACCEPT_SIZE])
{
    char text[128];
    uint8_t digest[SHA1_DIGEST_SIZE];
    struct sha1_ctx context;
    int length = snprintf(text, sizeof(text), "%.64s%s", key, HANDSHAKE_GUID);
    sha1_init(&context);
    sha1_update(&context, (size_t)length, (const uint8_t *)text);
    sha1_digest(&context, sizeof(digest), digest);
    websocket_base64(digest, sizeof(digest), accept);
}
