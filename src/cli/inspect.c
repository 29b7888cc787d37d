/* SPDX-License-Identifier: Apache-2.0 */
/* tine inspect: everything about one instance. */
#include <stdio.h>
#include <stdlib.h>

#include "base/cleanup.h"
#include "cli/command.h"
#include "cli/http.h"
#include "cli/instance_view.h"

static int inspect_run(const struct cli *cli, const void *options, char **operands, unsigned count)
{
    struct failure failure = {0};
    _cleanup_(free) char *path = instance_path(operands[0], "");
    json_t *instance = http_get(cli, NULL, path, &failure);
    if (!instance)
        return cli_fail(cli, operands[0], &failure);
    if (cli->json)
        return cli_print_json(instance);
    view_print(instance);
    json_decref(instance);
    return CLI_OK;
}

const struct command inspect_command = {
    .name = "inspect",
    .operands = "NAME",
    .summary = "Show everything about one instance",
    .details =
        "Its state, sizes, disks and times, what it was forked from, and how it got its memory.\n"
        "A field inside another is shown as outer.inner.\n",
    .examples = "  tine inspect web\n"
                "  tine inspect --json web | jq .tine.memory\n",
    .operands_min = 1,
    .operands_max = 1,
    .run = inspect_run,
};
