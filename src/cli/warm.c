/* SPDX-License-Identifier: Apache-2.0 */
/* tine warm: forks that are ready before somebody asks for them. */
#include <stdio.h>
#include <stdlib.h>

#include "base/cleanup.h"
#include "cli/command.h"
#include "cli/http.h"
#include "cli/instance_view.h"
#include "cli/snapshot_find.h"
#include "cli/table.h"

struct warm_options {
    const char *ready;
    bool off, snapshot;
};

/* ---- the list ---- */

static const char *number_of(const json_t *object, const char *name, char text[24])
{
    snprintf(text, 24, "%" JSON_INTEGER_FORMAT, json_integer_value(json_object_get(object, name)));
    return text;
}

static void add_row(struct table *table, const json_t *entry)
{
    char id[16], wanted[24], ready[24], taken[24], missed[24], pinned[32];
    const char *name = view_text(entry, "name");
    snprintf(id, sizeof(id), "%.12s", view_text(entry, "id"));
    view_bytes(json_object_get(entry, "pinned_bytes"), pinned);
    table_add(table, (const char *[]){
                         *name ? name : "-", id, view_text(entry, "kind"),
                         number_of(entry, "ready", ready), number_of(entry, "wanted", wanted),
                         view_text(entry, "state"), number_of(entry, "taken", taken),
                         number_of(entry, "missed", missed), pinned, view_text(entry, "reason")});
}

static int list(const struct cli *cli)
{
    static const struct table_column columns[] = {{"NAME", .shrink = true},
                                                  {"ID"},
                                                  {"KIND"},
                                                  {"READY", .right = true},
                                                  {"WANTED", .right = true},
                                                  {"STATE"},
                                                  {"TAKEN", .right = true},
                                                  {"MISSED", .right = true},
                                                  {"MEMORY", .right = true},
                                                  {"REASON", .shrink = true}};
    struct failure failure = {0};
    _cleanup_(json) json_t *entries = http_get(cli, NULL, "/warm", &failure);
    if (!entries)
        return cli_fail(cli, NULL, &failure);
    if (cli->json)
        return cli_print_json(json_incref(entries));
    struct table table = {.columns = columns, .column_count = ARRAY_SIZE(columns)};
    size_t i;
    json_t *entry;
    json_array_foreach(entries, i, entry) add_row(&table, entry);
    table_print(&table, terminal_width());
    table_release(&table);
    return CLI_OK;
}

/* ---- a wish ---- */

static int ready_parse(const struct cli *cli, const struct warm_options *options, unsigned *ready)
{
    char *end = NULL;
    if (options->off == (options->ready != NULL))
        return cli_usage(cli, options->off ? "--off excludes --ready"
                                           : "say how many forks are to be ready: --ready N, or "
                                             "--off");
    if (options->off)
        return CLI_OK;
    unsigned long number = strtoul(options->ready, &end, 10);
    if (*options->ready < '0' || *options->ready > '9' || *end || number > 1000000)
        return cli_usage(cli, "--ready: \"%s\" is not a number from 0 to 1000000", options->ready);
    *ready = (unsigned)number;
    return CLI_OK;
}

static char *path_of(const struct cli *cli, const struct warm_options *options,
                     const char *reference, struct failure *failure)
{
    if (!options->snapshot)
        return instance_path(reference, "/warm");
    _cleanup_(json) json_t *snapshot = snapshot_find(cli, reference, failure);
    return snapshot ? snapshot_path(view_text(snapshot, "id"), "/warm") : NULL;
}

static int print(const struct cli *cli, const char *reference, const json_t *status)
{
    char ready[24], wanted[24];
    if (cli->json)
        return cli_print_json(json_incref((json_t *)status));
    if (json_integer_value(json_object_get(status, "wanted")) == 0)
        printf("%s is not kept warm\n", reference);
    else
        printf("%s: %s of %s forks ready, %s\n", reference, number_of(status, "ready", ready),
               number_of(status, "wanted", wanted), view_text(status, "state"));
    return CLI_OK;
}

static int want(const struct cli *cli, const struct warm_options *options, const char *reference)
{
    struct failure failure = {0};
    unsigned ready = 0;
    int status = ready_parse(cli, options, &ready);
    if (status != CLI_OK)
        return status;
    struct http_call call = {.method = "PUT",
                             .path = path_of(cli, options, reference, &failure),
                             .body = json_pack("{s:I}", "ready", (json_int_t)ready),
                             .name = reference};
    if (call.path && http_run(cli, "warming", &call, 1, NULL, NULL) == 0)
        status = print(cli, reference, call.reply);
    else
        status = cli_fail(cli, reference, call.path ? &call.failure : &failure);
    http_calls_release(&call, 1);
    return status;
}

static int warm_run(const struct cli *cli, const void *data, char **operands, unsigned count)
{
    const struct warm_options *options = data;
    if (count > 0)
        return want(cli, options, operands[0]);
    if (options->off || options->ready || options->snapshot)
        return cli_usage(cli, "whose forks? A NAME is needed");
    return list(cli);
}

#define OPTION(member) offsetof(struct warm_options, member)

static const struct command_option warm_options[] = {
    {"ready", 0, OPTION_TEXT, OPTION(ready), "N", "keep so many forks ready; 0: none"},
    {"off", 0, OPTION_FLAG, OPTION(off), NULL, "keep none ready any more"},
    {"snapshot", 0, OPTION_FLAG, OPTION(snapshot), NULL, "NAME is a snapshot's"},
};

const struct command warm_command = {
    .name = "warm",
    .operands = "[NAME]",
    .summary = "Keep forks ready before they are asked for",
    .details =
        "Of an instance in standby, or a snapshot of kind Standby: its memory is mapped once, and\n"
        "N forks are made up to their first instruction. tine fork takes one of them and lets it\n"
        "run; what is taken is made anew. Without NAME: what is kept ready. The wish stays until\n"
        "--off; while the instance is awake nothing is ready.\n",
    .examples = "  tine warm web --ready 8\n"
                "  tine warm --snapshot web/warm --ready 25\n"
                "  tine warm\n"
                "  tine warm web --off\n",
    .options = warm_options,
    .option_count = ARRAY_SIZE(warm_options),
    .options_size = sizeof(struct warm_options),
    .operands_max = 1,
    .run = warm_run,
};
