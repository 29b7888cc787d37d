/* SPDX-License-Identifier: Apache-2.0 */
/* tine ps: the list of instances. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "cli/command.h"
#include "cli/http.h"
#include "cli/instance_view.h"
#include "cli/table.h"

struct ps_options {
    struct option_list tags;
    bool all;
};

/* Those that every list has, and those that are there where they have something to tell. */
struct layout {
    struct table_column columns[10];
    size_t count;
    bool hypervisor, expiry;
};

static void add_row(struct table *table, const struct layout *layout, const json_t *list,
                    const json_t *instance)
{
    char id[13], vcpus[16], age[32], parent[64], left[32];
    snprintf(id, sizeof(id), "%.12s", view_text(instance, "id"));
    snprintf(vcpus, sizeof(vcpus), "%d",
             (int)json_integer_value(json_object_get(instance, "vcpus")));
    view_age(view_text(instance, "created_at"), age);
    view_left(view_text(instance, "expires_at"), left);
    view_parent(list, instance, parent);
    const char *cells[ARRAY_SIZE(layout->columns)] = {
        view_text(instance, "name"),
        id,
        view_text(instance, "state"),
        vcpus,
        view_text(instance, "size"),
        age,
        parent,
        view_text(instance, "image"),
    };
    size_t count = 8;
    if (layout->hypervisor)
        cells[count++] = view_text(instance, "hypervisor");
    if (layout->expiry)
        cells[count++] = left;
    table_add(table, cells);
}

static bool is_shown(const json_t *instance, bool all)
{
    return all || !view_is_asleep(instance);
}

static bool expires(const json_t *instance)
{
    return *view_text(instance, "expires_at");
}

static bool has_other_hypervisor(const json_t *instance)
{
    return strcmp(view_text(instance, "hypervisor"), "builtin") != 0;
}

static bool one_is(const json_t *list, bool all, bool (*is)(const json_t *instance))
{
    size_t i;
    json_t *instance;
    json_array_foreach((json_t *)list, i, instance)
    {
        if (is_shown(instance, all) && is(instance))
            return true;
    }
    return false;
}

static struct layout layout_of(const json_t *list, bool all)
{
    struct layout layout = {
        .columns = {{"NAME", .shrink = true},
                    {"ID"},
                    {"STATE"},
                    {"VCPUS", .right = true},
                    {"MEMORY", .right = true},
                    {"AGE"},
                    {"PARENT", .shrink = true},
                    {"IMAGE", .shrink = true}},
        .count = 8,
        .hypervisor = one_is(list, all, has_other_hypervisor),
        .expiry = one_is(list, all, expires),
    };
    if (layout.hypervisor)
        layout.columns[layout.count++].title = "HYPERVISOR";
    if (layout.expiry)
        layout.columns[layout.count++].title = "EXPIRES IN";
    return layout;
}

static void print_list(const json_t *list, bool all)
{
    const struct layout layout = layout_of(list, all);
    struct table table = {.columns = layout.columns, .column_count = layout.count};
    size_t i, hidden = 0;
    json_t *instance;
    json_array_foreach((json_t *)list, i, instance)
    {
        if (is_shown(instance, all))
            add_row(&table, &layout, list, instance);
        else
            hidden++;
    }
    table_print(&table, terminal_width());
    table_release(&table);
    if (hidden > 0 && isatty(STDERR_FILENO)) {
        fflush(stdout);
        fprintf(stderr, "%zu more in Standby or Stopped: tine ps -a\n", hidden);
    }
}

static int print_filtered_json(const json_t *list, bool all)
{
    json_t *shown = json_array();
    size_t i;
    json_t *instance;
    json_array_foreach((json_t *)list, i, instance)
    {
        if (is_shown(instance, all))
            json_array_append(shown, instance);
    }
    return cli_print_json(shown);
}

/* "/instances?tags[KEY]=VALUE&..."; NULL and the failure for a tag that is none. */
static char *list_path(const struct ps_options *options, struct failure *failure)
{
    char *path = NULL;
    size_t length = 0;
    FILE *stream = open_memstream(&path, &length);
    if (!stream)
        return NULL;
    fputs("/instances", stream);
    for (unsigned i = 0; i < options->tags.count; i++) {
        const char *key = options->tags.items[i], *equals = strchr(key, '=');
        if (!equals)
            failure_set(failure, CLI_FAILED, "failed", "--tag: \"%s\" is not KEY=VALUE", key);
        fputs(i == 0 ? "?tags%5B" : "&tags%5B", stream);
        for (const char *c = key; *c; c++)
            fprintf(stream, c == equals ? "%%5D=" : "%%%02X", (unsigned char)*c);
    }
    if (fclose(stream) == 0 && failure->exit_status == 0)
        return path;
    free(path);
    return NULL;
}

static int ps_run(const struct cli *cli, const void *data, char **operands, unsigned count)
{
    const struct ps_options *options = data;
    struct failure failure = {0};
    _cleanup_(free) char *path = list_path(options, &failure);
    _cleanup_(json) json_t *list = path ? http_get(cli, "listing", path, &failure) : NULL;
    if (!list)
        return cli_fail(cli, NULL, &failure);
    if (cli->json)
        return print_filtered_json(list, options->all);
    print_list(list, options->all);
    return CLI_OK;
}

static const struct command_option ps_options[] = {
    {"all", 'a', OPTION_FLAG, offsetof(struct ps_options, all), NULL,
     "also those in Standby and Stopped"},
    {"tag", 0, OPTION_LIST, offsetof(struct ps_options, tags), "KEY=VALUE",
     "only those with this tag; may be repeated"},
};

const struct command ps_command = {
    .name = "ps",
    .operands = "",
    .summary = "List instances",
    .details =
        "Without -a only those that have a VM now. STATE is Running; Initializing: not ready\n"
        "yet; Standby: asleep, memory on disk; Stopped: powered off; Unknown: tine inspect\n"
        "says why; Created, Paused or Shutdown: an operation is under way. PARENT is what it\n"
        "was forked from. EXPIRES IN is there if one of them is deleted by itself.\n",
    .examples = "  tine ps -a\n"
                "  tine ps -a --json | jq -r '.[].name'\n",
    .options = ps_options,
    .option_count = ARRAY_SIZE(ps_options),
    .options_size = sizeof(struct ps_options),
    .run = ps_run,
};
