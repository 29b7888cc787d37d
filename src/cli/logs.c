/* SPDX-License-Identifier: Apache-2.0 */
/* tine logs: the guest's console, the VMM's log or that of operations, from the API's event
 * stream. */
#include <stdio.h>
#include <stdlib.h>

#include "base/cleanup.h"
#include "cli/command.h"
#include "cli/event_reader.h"

#define TAIL_DEFAULT 100

struct logs_options {
    const char *tail;
    bool follow, vmm, operations;
};

static bool on_line(void *data, const json_t *text)
{
    const struct cli *cli = data;
    if (!json_is_string(text))
        return true;
    if (cli->json) {
        _cleanup_(json) json_t *object = json_pack("{s:O}", "line", text);
        json_dumpf(object, stdout, JSON_COMPACT);
    } else {
        fwrite(json_string_value(text), 1, json_string_length(text), stdout);
    }
    fputc('\n', stdout);
    return true;
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
    if (options->vmm && options->operations)
        return cli_usage(cli, "--vmm and --operations are two logs; give one");
    const char *source = options->operations ? "hypeman" : options->vmm ? "vmm" : "app";
    char query[96];
    snprintf(query, sizeof(query), "/logs?tail=%lu&follow=%s&source=%s", tail,
             options->follow ? "true" : "false", source);
    _cleanup_(free) char *path = instance_path(operands[0], query);
    struct failure failure = {0};
    int status = events_get(cli, path ? path : "/", on_line, (void *)cli, &failure);
    return status == CLI_OK ? CLI_OK : cli_fail(cli, operands[0], &failure);
}

#define OPTION(member) offsetof(struct logs_options, member)

static const struct command_option logs_options[] = {
    {"follow", 'f', OPTION_FLAG, OPTION(follow), NULL, "go on as lines are written"},
    {"tail", 'n', OPTION_TEXT, OPTION(tail), "N", "begin with the last N lines (default 100)"},
    {"operations", 0, OPTION_FLAG, OPTION(operations), NULL,
     "what was done to the instance instead of the console"},
    {"vmm", 0, OPTION_FLAG, OPTION(vmm), NULL, "the VMM's own log instead of the console"},
};

const struct command logs_command = {
    .name = "logs",
    .operands = "NAME",
    .summary = "Show the guest's console",
    .details = "Begins with the last 100 lines. With -f it goes on until the instance is deleted.\n"
               "With --json each line is an object: {\"line\":\"...\"}.\n",
    .examples = "  tine logs -n 20 web\n"
                "  tine logs -f web\n"
                "  tine logs --operations web\n",
    .options = logs_options,
    .option_count = ARRAY_SIZE(logs_options),
    .options_size = sizeof(struct logs_options),
    .operands_min = 1,
    .operands_max = 1,
    .run = logs_run,
};
