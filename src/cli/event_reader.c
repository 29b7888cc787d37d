/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/event_reader.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"

/* Lines of the stream are put together here until their newline comes. */
struct event_reader {
    event_handler *handle;
    void *data;
    char *text;
    size_t length, capacity;
};

/* "data: " and JSON; everything else (comments, the empty line) says nothing. */
static bool take_line(const struct event_reader *reader, const char *line, size_t length)
{
    static const char field[] = "data:";
    if (length < strlen(field) || strncmp(line, field, strlen(field)) != 0)
        return true;
    _cleanup_(json) json_t *value = json_loadb(line + strlen(field), length - strlen(field),
                                               JSON_DECODE_ANY | JSON_ALLOW_NUL, NULL);
    return !value || reader->handle(reader->data, value);
}

static bool append(struct event_reader *reader, const char *bytes, size_t length)
{
    if (reader->length + length > reader->capacity) {
        size_t capacity = 2 * (reader->length + length);
        char *grown = realloc(reader->text, capacity);
        if (!grown)
            return false;
        reader->text = grown;
        reader->capacity = capacity;
    }
    memcpy(reader->text + reader->length, bytes, length);
    reader->length += length;
    return true;
}

static bool on_bytes(void *data, const char *bytes, size_t length)
{
    struct event_reader *reader = data;
    if (!append(reader, bytes, length))
        return false;
    char *begin = reader->text, *end;
    size_t left = reader->length;
    bool go_on = true;
    while (go_on && left > 0 && (end = memchr(begin, '\n', left))) {
        go_on = take_line(reader, begin, (size_t)(end - begin));
        left -= (size_t)(end - begin) + 1;
        begin = end + 1;
    }
    memmove(reader->text, begin, left);
    reader->length = left;
    return fflush(stdout) == 0 && go_on;
}

int events_get(const struct cli *cli, const char *path, event_handler *handle, void *data,
               struct failure *failure)
{
    struct event_reader reader = {.handle = handle, .data = data};
    int status = http_stream(cli, path, on_bytes, &reader, failure);
    free(reader.text);
    return status;
}
