/* SPDX-License-Identifier: Apache-2.0 */
#include "cp_calls.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "http_client.h"
#include "websocket_client.h"

int cp_open(const struct daemon *daemon, const char *format, ...)
{
    char request[1024];
    va_list args;
    va_start(args, format);
    vsnprintf(request, sizeof(request), format, args);
    va_end(args);
    int fd = ws_open_route(daemon, "vm", "cp");
    ws_text(fd, request);
    return fd;
}

json_t *cp_result(int fd)
{
    struct ws_frame frame = ws_receive(fd);
    assert_int_equal(frame.first, WS_FIN | WS_TEXT);
    json_t *result = json_loads(frame.payload, 0, NULL);
    assert_string_equal(text_of(result, "type"), "result");
    free(frame.payload);
    frame = ws_receive(fd);
    assert_int_equal(frame.first, WS_FIN | WS_CLOSE);
    assert_memory_equal(frame.payload, "\x03\xe8", 2);
    free(frame.payload);
    close(fd);
    return result;
}

void expect_unwritten(int fd, const char *part)
{
    json_t *result = cp_result(fd);
    assert_true(json_is_false(json_object_get(result, "success")));
    if (!strstr(text_of(result, "error"), part))
        fail_msg("\"%s\" is not in \"%s\"", part, text_of(result, "error"));
    json_decref(result);
}
