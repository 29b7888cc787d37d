/* SPDX-License-Identifier: Apache-2.0 */
/* tine snapshot ls: the list of snapshots. */
#include <stdio.h>
#include <string.h>

#include "base/cleanup.h"
#include "cli/command.h"
#include "cli/instance_view.h"
#include "cli/snapshot_find.h"
#include "cli/table.h"

static void add_row(struct table *table, const json_t *snapshot)
{
    char id[13], size[32], age[32];
    snprintf(id, sizeof(id), "%.12s", view_text(snapshot, "id"));
    view_bytes(json_object_get(snapshot, "size_bytes"), size);
    view_age(view_text(snapshot, "created_at"), age);
    table_add(table, (const char *[]){view_text(snapshot, "source_instance_name"),
                                      view_text(snapshot, "name"), id, view_text(snapshot, "kind"),
                                      size, age});
}

static void print_list(const json_t *list)
{
    static const struct table_column columns[] = {
        {"SOURCE", .shrink = true},
        {"NAME", .shrink = true},
        {"ID"},
        {"KIND"},
        {"SIZE", .right = true},
        {"AGE"},
    };
    struct table table = {.columns = columns, .column_count = ARRAY_SIZE(columns)};
    size_t i;
    json_t *snapshot;
    json_array_foreach((json_t *)list, i, snapshot) add_row(&table, snapshot);
    table_print(&table, terminal_width());
    table_release(&table);
}

/* Those of one source: by its name or the beginning of its id, whether it still exists or not. */
static json_t *of_source(const json_t *list, const char *source)
{
    json_t *kept = json_array();
    size_t i;
    json_t *snapshot;
    json_array_foreach((json_t *)list, i, snapshot)
    {
        if (strcmp(view_text(snapshot, "source_instance_name"), source) == 0 ||
            strncmp(view_text(snapshot, "source_instance_id"), source, strlen(source)) == 0)
            json_array_append(kept, snapshot);
    }
    return kept;
}

static int ls_run(const struct cli *cli, const void *options, char **operands, unsigned count)
{
    struct failure failure = {0};
    _cleanup_(json) json_t *all = snapshots_get(cli, &failure);
    if (!all)
        return cli_fail(cli, NULL, &failure);
    _cleanup_(json) json_t *list = count > 0 ? of_source(all, operands[0]) : json_incref(all);
    if (cli->json)
        return cli_print_json(json_incref(list));
    print_list(list);
    return CLI_OK;
}

const struct command snapshot_ls_command = {
    .name = "snapshot ls",
    .operands = "[SOURCE]",
    .summary = "List snapshots",
    .details = "SOURCE is the name or the beginning of the id of an instance, which may be gone:\n"
               "only its snapshots then. SIZE is that of all files; what is shared counts too.\n",
    .examples = "  tine snapshot ls\n"
                "  tine snapshot ls web --json | jq -r '.[].id'\n",
    .operands_max = 1,
    .run = ls_run,
};
