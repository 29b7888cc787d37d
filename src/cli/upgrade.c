/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/upgrade.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <sys/socket.h>
#include <unistd.h>

#include "api/websocket.h"
#include "base/cleanup.h"
#include "base/file.h"
#include "base/tcp_socket.h"
#include "base/unix_socket.h"

#define HEAD_LIMIT (32u << 10)
#define BODY_LIMIT (64u << 10)

static int send_handshake(const struct cli *cli, int fd, const char *path, const char *key)
{
    _cleanup_(free) char *text = NULL;
    bool authorized = cli->host && cli->token;
    int length = asprintf(&text,
                          "GET %s HTTP/1.1\r\nHost: %s\r\nUpgrade: websocket\r\n"
                          "Connection: Upgrade\r\nSec-WebSocket-Version: 13\r\n"
                          "Sec-WebSocket-Key: %s\r\n%s%s%s\r\n",
                          path, cli->host ? cli->host : "tined", key,
                          authorized ? "Authorization: Bearer " : "", authorized ? cli->token : "",
                          authorized ? "\r\n" : "");
    if (length < 0) {
        text = NULL;
        return -ENOMEM;
    }
    return file_write_exact(fd, text, (size_t)length, "handshake", NULL);
}

/* Reads up to and with the empty line, byte by byte: what follows belongs to the WebSocket. */
static int read_head(int fd, char *head, size_t size)
{
    size_t length = 0;
    while (length + 1 < size) {
        ssize_t n = read(fd, head + length, 1);
        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0)
            return n < 0 ? -errno : -ECONNRESET;
        head[++length] = '\0';
        if (length >= 4 && memcmp(head + length - 4, "\r\n\r\n", 4) == 0)
            return 0;
    }
    return -EMSGSIZE;
}

/* The value of a header of the reply, cut at its line's end; "" if it is not there. */
static void header_value(const char *head, const char *name, char *value, size_t size)
{
    value[0] = '\0';
    const char *at = strcasestr(head, name);
    if (!at)
        return;
    at += strlen(name);
    at += strspn(at, " \t");
    snprintf(value, size, "%.*s", (int)strcspn(at, "\r\n"), at);
}

/* A refusal is plain HTTP with a JSON body. */
static void read_refusal(int fd, const char *head, struct failure *failure)
{
    char length_text[32];
    long status = strlen(head) > 9 ? strtol(head + 9, NULL, 10) : 0;
    header_value(head, "\r\nContent-Length:", length_text, sizeof(length_text));
    size_t length = strtoul(length_text, NULL, 10);
    length = length > BODY_LIMIT ? BODY_LIMIT : length;
    _cleanup_(free) char *body = malloc(length + 1);
    if (!body || file_read_exact(fd, body, length, "reply", NULL) < 0)
        length = 0;
    failure_from_reply(failure, status, body, length);
}

int websocket_connect(const struct cli *cli, const char *path, struct failure *failure)
{
    _cleanup_(close) int fd =
        cli->host ? tcp_connect(cli->host, NULL) : unix_connect(cli->socket, 0, NULL);
    if (fd < 0) {
        failure_unreachable(failure, cli, strerror(-fd));
        return -1;
    }
    uint8_t nonce[16];
    char key[WEBSOCKET_ACCEPT_SIZE], wanted[WEBSOCKET_ACCEPT_SIZE], accept[64];
    char head[HEAD_LIMIT];
    if (getrandom(nonce, sizeof(nonce), 0) != sizeof(nonce))
        memset(nonce, 0, sizeof(nonce));
    websocket_base64(nonce, sizeof(nonce), key);
    int r = send_handshake(cli, fd, path, key);
    r = r < 0 ? r : read_head(fd, head, sizeof(head));
    if (r < 0) {
        failure_unreachable(failure, cli, strerror(-r));
        return -1;
    }
    if (strncmp(head, "HTTP/1.1 101 ", 13) != 0) {
        read_refusal(fd, head, failure);
        return -1;
    }
    websocket_accept(key, wanted);
    header_value(head, "\r\nSec-WebSocket-Accept:", accept, sizeof(accept));
    if (strcmp(accept, wanted) != 0) {
        failure_set(failure, CLI_FAILED, "failed", "tined's handshake is wrong");
        return -1;
    }
    return TAKE_FD(fd);
}
