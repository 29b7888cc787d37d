/* SPDX-License-Identifier: Apache-2.0 */
/* tine logs: the guest's console or the VMM's log, from the API's event stream. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "cli/command.h"
#include "cli/http.h"

#define TAIL_DEFAULT 100

struct logs_options {
    const char *tail;
    bool follow, vmm;
};

/* Lines of the stream are put together here until their newline comes. */
struct event_reader {
    const struct cli *cli;
    char *text;
    size_t length, capacity;
};

/* "data: " and a JSON string; everything else (comments, the empty line) says nothing. */
static void print_event(const struct event_reader *reader, const char *line, size_t length)
{
    static const char field[] = "data:";
    if (length < strlen(field) || strncmp(line, field, strlen(field)) != 0)
        return;
    _cleanup_(json) json_t *text = json_loadb(line + strlen(field), length - strlen(field),
                                              JSON_DECODE_ANY | JSON_ALLOW_NUL, NULL);
    if (!json_is_string(text))
        return;
    if (reader->cli->json) {
        _cleanup_(json) json_t *object = json_pack("{s:O}", "line", text);
        json_dumpf(object, stdout, JSON_COMPACT);
    } else {
        fwrite(json_string_value(text), 1, json_string_length(text), stdout);
    }
    fputc('\n', stdout);
}

static bool on_bytes(void *data, const char *bytes, size_t length)
{
    struct event_reader *reader = data;
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
    char *begin = reader->text, *end;
    size_t left = reader->length;
    while (left > 0 && (end = memchr(begin, '\n', left))) {
        print_event(reader, begin, (size_t)(end - begin));
        left -= (size_t)(end - begin) + 1;
        begin = end + 1;
    }
    memmove(reader->text, begin, left);
    reader->length = left;
    return fflush(stdout) == 0;
}

static int logs_run(const struct cli *cli, const void *data, char **operands, unsigned count)
{
    const struct logs_options *options = data;
    unsigned long tail = TAIL_DEFAULT;
    if (options->tail) {
        char *end;
        tail = strtoul(options->tail, &end, 10);
        if (*end || *options->tail < '0' || *options->tail > '9')
            return cli_usage(cli, "--tail: \"%s\" is not a whole number", options->tail);
    }
    char query[96];
    snprintf(query, sizeof(query), "/logs?tail=%lu&follow=%s&source=%s", tail,
             options->follow ? "true" : "false", options->vmm ? "vmm" : "app");
    _cleanup_(free) char *path = instance_path(operands[0], query);
    struct event_reader reader = {.cli = cli};
    struct failure failure = {0};
    int status = http_stream(cli, path ? path : "/", on_bytes, &reader, &failure);
    free(reader.text);
    return status == CLI_OK ? CLI_OK : cli_fail(cli, operands[0], &failure);
}

#define OPTION(member) offsetof(struct logs_options, member)

static const struct command_option logs_options[] = {
    {"follow", 'f', OPTION_FLAG, OPTION(follow), NULL, "go on as lines are written"},
    {"tail", 'n', OPTION_TEXT, OPTION(tail), "N", "begin with the last N lines (default 100)"},
    {"vmm", 0, OPTION_FLAG, OPTION(vmm), NULL, "the VMM's own log instead of the console"},
};

const struct command logs_command = {
    .name = "logs",
    .operands = "NAME",
    .summary = "Show the guest's console",
    .details = "With --json each line is an object: {\"line\":\"...\"}.\n",
    .examples = "  tine logs -n 20 web\n"
                "  tine logs -f web\n",
    .options = logs_options,
    .option_count = ARRAY_SIZE(logs_options),
    .options_size = sizeof(struct logs_options),
    .operands_min = 1,
    .operands_max = 1,
    .run = logs_run,
};
