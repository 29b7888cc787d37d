/* SPDX-License-Identifier: Apache-2.0 */
#include "http/response.h"

#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"

#define STATUS_NO_CONTENT 204

char *http_continue(const char *server, size_t *length)
{
    char *text = NULL;
    int n =
        asprintf(&text, "HTTP/1.1 100 \r\nServer: %s\r\nConnection: keep-alive\r\n\r\n", server);
    if (n < 0)
        return NULL;
    *length = (size_t)n;
    return text;
}

char *http_response(const char *server, int status, const char *body, bool close, size_t *length)
{
    const char *connection = close ? "close" : "keep-alive";
    char content[96] = "";
    if (!body)
        body = "";
    if (status != STATUS_NO_CONTENT)
        snprintf(content, sizeof(content),
                 "Content-Type: application/json\r\nContent-Length: %zu\r\n", strlen(body));
    char *text = NULL;
    int n = asprintf(&text, "HTTP/1.1 %d \r\nServer: %s\r\nConnection: %s\r\n%s\r\n%s", status,
                     server, connection, content, body);
    if (n < 0)
        return NULL;
    *length = (size_t)n;
    return text;
}

static void replace_non_ascii(char *text)
{
    for (; *text; text++) {
        if (*text & 0x80)
            *text = '?';
    }
}

char *http_error_body(const char *key, const char *message, int errnum)
{
    _cleanup_(free) char *copy = strdup(message);
    if (!copy)
        return NULL;
    json_t *value = json_string(copy);
    if (!value) {
        replace_non_ascii(copy);
        value = json_string(copy);
    }
    json_t *object =
        json_pack("{s:o, s:s*}", key, value, "errno", errnum > 0 ? strerrorname_np(errnum) : NULL);
    char *text = object ? json_dumps(object, JSON_COMPACT) : NULL;
    json_decref(object);
    return text;
}
