/* SPDX-License-Identifier: Apache-2.0 */
/* tine events: what happened to instances, and what happens. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/duration.h"
#include "cli/command.h"
#include "cli/event_reader.h"
#include "cli/instance_view.h"

struct events_options {
    const char *since;
    bool follow;
};

struct events_output {
    const struct cli *cli;
    bool dropped; /* we were too slow */
};

/* time, kind, name, what became of it; a failure and its reason behind that. */
static void print_event(const json_t *event)
{
    const char *result = view_text(event, "result");
    const char *message = view_text(event, "message");
    const char *state = view_text(event, "state");
    bool gone = json_is_string(json_object_get(event, "instance_id")) && !*state;
    printf("%s  %-11s  ", view_text(event, "time"), view_text(event, "kind"));
    char name[64];
    snprintf(name, sizeof(name), "%-16s", view_text(event, "instance_name"));
    cli_print_plain(stdout, name);
    printf("  %s", gone ? "gone" : state);
    bool failed = *result && strcmp(result, "ok") != 0;
    if (failed)
        printf("  failed (%s)", result);
    if (*message) {
        fputs(failed ? ": " : "  ", stdout);
        cli_print_plain(stdout, message);
    }
    putchar('\n');
}

static bool on_event(void *data, const json_t *event)
{
    struct events_output *output = data;
    output->dropped = strcmp(view_text(event, "kind"), "dropped") == 0;
    if (!output->cli->json) {
        print_event(event);
        return true;
    }
    json_dumpf(event, stdout, JSON_COMPACT);
    putchar('\n');
    return true;
}

static int events_run(const struct cli *cli, const void *data, char **operands, unsigned count)
{
    const struct events_options *options = data;
    struct events_output output = {.cli = cli};
    struct failure failure = {0};
    int64_t since = 0;
    if (options->since) {
        struct error err = {0};
        if (duration_parse(options->since, &since, &err) < 0)
            return cli_usage(cli, "--since: %s", err.message);
        if (since < 0)
            return cli_usage(cli, "--since: \"%s\" is negative", options->since);
    }
    char path[96];
    int used =
        snprintf(path, sizeof(path), "/events?follow=%s", options->follow ? "true" : "false");
    if (options->since)
        snprintf(path + used, sizeof(path) - (size_t)used, "&since=%lldns", (long long)since);
    if (events_get(cli, path, on_event, &output, &failure) == CLI_OK && output.dropped)
        failure_set(&failure, CLI_FAILED, "dropped", "events are lost: they were read too slowly");
    return failure.exit_status == 0 ? CLI_OK : cli_report(cli, NULL, &failure);
}

#define OPTION(member) offsetof(struct events_options, member)

static const struct command_option events_options[] = {
    {"follow", 'f', OPTION_FLAG, OPTION(follow), NULL, "go on with what happens from now on"},
    {"since", 0, OPTION_TEXT, OPTION(since), "TIME",
     "begin with the events of the last TIME, as 10m or 1h30m"},
};

const struct command events_command = {
    .name = "events",
    .operands = "",
    .summary = "Show what happened to instances",
    .details =
        "Operations that ended, and VMs that ended by themselves. Without options all that tined\n"
        "holds: the last 2048 since it was started. With -f only what comes, unless --since asks\n"
        "for more. With --json each line is an object: time, instance_id, instance_name, kind,\n"
        "state, operation_id, result, message.\n",
    .examples = "  tine events\n"
                "  tine events -f --since 10m\n"
                "  tine events -f --json | jq -r 'select(.kind == \"vmm-ended\") | .message'\n",
    .options = events_options,
    .option_count = ARRAY_SIZE(events_options),
    .options_size = sizeof(struct events_options),
    .run = events_run,
};
