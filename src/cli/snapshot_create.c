/* SPDX-License-Identifier: Apache-2.0 */
/* tine snapshot create: capture an instance. */
#include <stdio.h>
#include <strings.h>

#include "base/cleanup.h"
#include "cli/command.h"
#include "cli/compress.h"
#include "cli/fork_many.h"
#include "cli/http.h"
#include "cli/instance_view.h"

struct create_options {
    const char *name, *kind, *compress;
};

static void print_line(const json_t *snapshot)
{
    const char *name = view_text(snapshot, "name");
    printf("%s%s%s  %.12s  %s %6.0f ms\n", view_text(snapshot, "source_instance_name"),
           *name ? "/" : "", name, view_text(snapshot, "id"), view_text(snapshot, "kind"),
           json_number_value(json_object_get(snapshot, "elapsed_ms")));
}

static int create_run(const struct cli *cli, const void *data, char **operands, unsigned count)
{
    const struct create_options *options = data;
    struct failure failure = {0};
    const char *kind = options->kind ? target_spelling(options->kind) : "Standby";
    if (!kind || strcasecmp(kind, "Running") == 0)
        return cli_usage(cli, "--kind: \"%s\" is not Standby or Stopped", options->kind);
    _cleanup_(free) char *path = instance_path(operands[0], "/snapshots");
    json_t *body = json_pack("{s:s}", "kind", kind);
    int status = compress_add(cli, options->compress, body);
    if (status != CLI_OK) {
        json_decref(body);
        return status;
    }
    if (options->name)
        json_object_set_new(body, "name", json_string(options->name));
    _cleanup_(json) json_t *snapshot = http_post(cli, "capturing", path, body, &failure);
    if (!snapshot)
        return cli_fail(cli, operands[0], &failure);
    if (cli->json)
        return cli_print_json(json_incref(snapshot));
    print_line(snapshot);
    return CLI_OK;
}

#define OPTION(member) offsetof(struct create_options, member)

static const struct command_option create_options[] = {
    {"name", 0, OPTION_TEXT, OPTION(name), "NAME", "its name, unique among its source's"},
    {"kind", 0, OPTION_TEXT, OPTION(kind), "KIND",
     "Standby: memory and disks (default); Stopped: disks alone"},
    {"compress", 0, OPTION_TEXT, OPTION(compress), COMPRESS_VALUE,
     "compress memory that no other owner shares: zstd, levels 1 to 19, or lz4, 0 to 9"},
};

const struct command snapshot_create_command = {
    .name = "snapshot create",
    .operands = "NAME",
    .summary = "Capture an instance",
    .details =
        "Kind Standby is of an instance in Standby or Running, which is paused for a moment\n"
        "and goes on while its memory is written; kind Stopped is of a stopped one. Memory of\n"
        "an instance in Standby is linked, not copied, so it is compressed once the source\n"
        "sleeps anew, or is gone.\n",
    .examples = "  tine snapshot create web --name warm\n"
                "  tine snapshot create web --kind Stopped\n"
                "  tine snapshot create web --name archive --compress zstd:9\n"
                "  tine snapshot create web --json | jq -r .id\n",
    .options = create_options,
    .option_count = ARRAY_SIZE(create_options),
    .options_size = sizeof(struct create_options),
    .operands_min = 1,
    .operands_max = 1,
    .run = create_run,
};
