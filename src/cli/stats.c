/* SPDX-License-Identifier: Apache-2.0 */
/* tine stats: what instances cost and share, now. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "cli/batch.h"
#include "cli/command.h"
#include "cli/instance_view.h"
#include "cli/table.h"

static void add_row(struct table *table, const json_t *stats)
{
    char cpu[32], rss[32], private[32], vmm[32], file[32], links[32];
    snprintf(cpu, sizeof(cpu), "%.1f", json_number_value(json_object_get(stats, "cpu_seconds")));
    view_bytes(json_object_get(stats, "memory_rss_bytes"), rss);
    view_bytes(view_inner(stats, "tine", "memory_private_bytes"), private);
    view_bytes(view_inner(stats, "tine", "vmm_private_bytes"), vmm);
    view_bytes(view_inner(stats, "tine", "memory_file_bytes"), file);
    snprintf(links, sizeof(links), "%lld",
             (long long)json_integer_value(view_inner(stats, "tine", "memory_link_count")));
    table_add(table, (const char *[]){view_text(stats, "instance_name"), cpu, rss, private, vmm,
                                      file, links});
}

static void print_table(const struct http_call *calls, size_t count)
{
    static const struct table_column columns[] = {
        {"NAME", .shrink = true},   {"CPU S", .right = true}, {"RSS", .right = true},
        {"PRIVATE", .right = true}, {"VMM", .right = true},   {"MEMORY FILE", .right = true},
        {"LINKS", .right = true},
    };
    struct table table = {.columns = columns, .column_count = ARRAY_SIZE(columns)};
    for (size_t i = 0; i < count; i++) {
        if (calls[i].reply)
            add_row(&table, calls[i].reply);
    }
    table_print(&table, terminal_width());
    table_release(&table);
}

static int print_json(const struct http_call *calls, size_t count)
{
    json_t *list = json_array();
    for (size_t i = 0; i < count; i++) {
        if (calls[i].reply)
            json_array_append(list, calls[i].reply);
    }
    return cli_print_json(list);
}

static void on_done(struct http_call *call, void *data)
{
    if (call->failure.exit_status != 0)
        cli_report(data, call->name, &call->failure);
}

static int stats_over(const struct cli *cli, const char *const *names, size_t count)
{
    _cleanup_(batch) struct batch *batch = batch_new(cli, count);
    if (!batch)
        return CLI_FAILED;
    for (size_t i = 0; i < count; i++) {
        batch->calls[i].method = "GET";
        batch->calls[i].name = names[i];
        batch->calls[i].path = instance_path(names[i], "/stats");
    }
    int status = http_run(cli, "measuring", batch->calls, count, on_done, (void *)cli);
    if (cli->json)
        print_json(batch->calls, count);
    else
        print_table(batch->calls, count);
    return status;
}

static int stats_run(const struct cli *cli, const void *options, char **operands, unsigned count)
{
    if (count > 0)
        return stats_over(cli, (const char *const *)operands, count);
    struct failure failure = {0};
    _cleanup_(json) json_t *list = http_get(cli, "listing", "/instances?state=Running", &failure);
    if (!list)
        return cli_fail(cli, NULL, &failure);
    _cleanup_(free) const char **names = calloc(json_array_size(list) + 1, sizeof(*names));
    size_t i;
    json_t *instance;
    if (!names)
        return CLI_FAILED;
    json_array_foreach(list, i, instance) names[i] = view_text(instance, "id");
    return stats_over(cli, names, json_array_size(list));
}

const struct command stats_command = {
    .name = "stats",
    .operands = "[NAME...]",
    .summary = "Show what instances use and share",
    .details = "Of all running instances, or of those named. PRIVATE is memory that only this VM\n"
               "holds, VMM the part of it that is not the guest's; LINKS counts the owners of its\n"
               "memory file.\n",
    .examples = "  tine stats\n"
                "  tine stats --json web | jq '.[0].tine.memory_link_count'\n",
    .operands_max = OPERANDS_ANY,
    .run = stats_run,
};
