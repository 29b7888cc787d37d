/* SPDX-License-Identifier: Apache-2.0 */
/* tine snapshot inspect: everything about one snapshot. */
#include "base/cleanup.h"
#include "cli/command.h"
#include "cli/instance_view.h"
#include "cli/snapshot_find.h"

static int inspect_run(const struct cli *cli, const void *options, char **operands, unsigned count)
{
    struct failure failure = {0};
    _cleanup_(json) json_t *snapshot = snapshot_find(cli, operands[0], &failure);
    if (!snapshot)
        return cli_fail(cli, operands[0], &failure);
    if (cli->json)
        return cli_print_json(json_incref(snapshot));
    view_print(snapshot);
    return CLI_OK;
}

const struct command snapshot_inspect_command = {
    .name = "snapshot inspect",
    .operands = "SNAPSHOT",
    .summary = "Show everything about one snapshot",
    .examples = "  tine snapshot inspect web/warm\n"
                "  tine snapshot inspect --json k3v9w2 | jq .size_bytes\n",
    .operands_min = 1,
    .operands_max = 1,
    .run = inspect_run,
};
