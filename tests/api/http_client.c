/* SPDX-License-Identifier: Apache-2.0 */
#include "http_client.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/tcp_socket.h"
#include "base/unix_socket.h"
#include "openapi.h"

#define RECEIVE_TIMEOUT_S 60

static int limited(int fd)
{
    assert_true(fd >= 0);
    struct timeval timeout = {.tv_sec = RECEIVE_TIMEOUT_S};
    setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &timeout, sizeof(timeout));
    return fd;
}

int http_open(const struct daemon *daemon)
{
    return limited(unix_connect(daemon->socket, 0, NULL));
}

int http_open_tcp(const struct daemon *daemon)
{
    char address[64];
    snprintf(address, sizeof(address), "127.0.0.1:%u", daemon_port(daemon));
    return limited(tcp_connect(address, NULL));
}

void http_send(int fd, const void *bytes, size_t length)
{
    const char *at = bytes;
    while (length > 0) {
        ssize_t n = send(fd, at, length, MSG_NOSIGNAL);
        if (n <= 0) /* the server may refuse before it has read everything */
            return;
        at += n;
        length -= (size_t)n;
    }
}

void http_send_text(int fd, const char *text)
{
    http_send(fd, text, strlen(text));
}

static char *read_all(int fd, size_t *length)
{
    size_t capacity = 1 << 16;
    char *text = malloc(capacity);
    *length = 0;
    for (;;) {
        if (*length + 1 == capacity)
            text = realloc(text, capacity *= 2);
        ssize_t n = recv(fd, text + *length, capacity - 1 - *length, 0);
        if (n < 0)
            assert_int_equal(errno, ECONNRESET);
        if (n <= 0)
            break;
        *length += (size_t)n;
    }
    text[*length] = '\0';
    return text;
}

static void unchunk(struct http_reply *reply)
{
    char *in = reply->body, *out = reply->body;
    for (;;) {
        char *end;
        size_t size = strtoul(in, &end, 16);
        if (end == in || size == 0)
            break;
        in = end + 2;
        memmove(out, in, size);
        out += size;
        in += size + 2;
    }
    *out = '\0';
    reply->body_length = (size_t)(out - reply->body);
}

struct http_reply http_finish(int fd)
{
    struct http_reply reply = {0};
    size_t length;
    reply.head = read_all(fd, &length);
    close(fd);
    char *end = strstr(reply.head, "\r\n\r\n");
    static const char version[] = "HTTP/1.1 ";
    if (!end || strncmp(reply.head, version, strlen(version)) != 0)
        return reply;
    reply.status = (int)strtol(reply.head + strlen(version), NULL, 10);
    end[2] = '\0';
    reply.body = end + 4;
    reply.body_length = length - (size_t)(reply.body - reply.head);
    const char *encoding = http_header(&reply, "Transfer-Encoding");
    if (encoding && strcasecmp(encoding, "chunked") == 0)
        unchunk(&reply);
    if (reply.body_length > 0)
        reply.json = json_loadb(reply.body, reply.body_length, 0, NULL);
    return reply;
}

void http_release(struct http_reply *reply)
{
    free(reply->head);
    json_decref(reply->json);
    *reply = (struct http_reply){0};
}

const char *http_header(const struct http_reply *reply, const char *name)
{
    static _Thread_local char value[256]; /* test_snapshots calls from threads */
    char wanted[128];
    snprintf(wanted, sizeof(wanted), "\r\n%s: ", name);
    const char *at = strcasestr(reply->head, wanted);
    if (!at)
        return NULL;
    at += strlen(wanted);
    snprintf(value, sizeof(value), "%.*s", (int)strcspn(at, "\r"), at);
    return value;
}

struct http_reply http_call(const struct daemon *daemon, const char *method, const char *path,
                            const char *body)
{
    char *text = NULL;
    int fd = http_open(daemon);
    assert_true(asprintf(&text,
                         "%s %s HTTP/1.1\r\nHost: tined\r\nConnection: close\r\n"
                         "Content-Type: application/json\r\nContent-Length: %zu\r\n\r\n%s",
                         method, path, body ? strlen(body) : 0, body ? body : "") > 0);
    http_send_text(fd, text);
    free(text);
    struct http_reply reply = http_finish(fd);
    openapi_check(method, path, body, &reply);
    return reply;
}

json_t *http_expect(const struct daemon *daemon, const char *method, const char *path,
                    const char *body, int status)
{
    struct http_reply reply = http_call(daemon, method, path, body);
    if (reply.status != status)
        fprintf(stderr, "%s %s: %s\n", method, path, reply.body ? reply.body : "no reply");
    assert_int_equal(reply.status, status);
    if (reply.body_length > 0) {
        assert_string_equal(http_header(&reply, "Content-Type"), "application/json");
        assert_non_null(reply.json);
    }
    json_t *json = json_incref(reply.json);
    http_release(&reply);
    return json;
}

void http_refused(const struct daemon *daemon, const char *method, const char *path,
                  const char *body, int status, const char *code, const char *message_part)
{
    struct http_reply reply = http_call(daemon, method, path, body);
    if (reply.status != status || !reply.json)
        fprintf(stderr, "%s %s %s: %d %s\n", method, path, body ? body : "", reply.status,
                reply.body ? reply.body : "no reply");
    assert_int_equal(reply.status, status);
    assert_non_null(reply.json);
    assert_string_equal(text_of(reply.json, "code"), code);
    if (!strstr(text_of(reply.json, "message"), message_part))
        fail_msg("\"%s\" is not in \"%s\"", message_part, text_of(reply.json, "message"));
    const char *retry = http_header(&reply, "x-should-retry");
    if (status == 409 || status >= 500)
        assert_string_equal(retry ? retry : "none", "false");
    else
        assert_null(retry);
    http_release(&reply);
}

void http_refused_all(const struct daemon *daemon, const char *method, const char *path,
                      const struct http_refusal *cases, size_t count)
{
    for (size_t i = 0; i < count; i++)
        http_refused(daemon, method, path, cases[i].body, cases[i].status, cases[i].code,
                     cases[i].message_part);
}

const char *text_of(const json_t *object, const char *name)
{
    const char *text = json_string_value(json_object_get(object, name));
    return text ? text : "(none)";
}
