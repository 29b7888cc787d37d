/* SPDX-License-Identifier: Apache-2.0 */
/* tine version: of this program, and of tined if it answers. */
#include <stdio.h>

#include "cli/command.h"
#include "cli/http.h"
#include "cli/instance_view.h"

static int version_run(const struct cli *cli, const void *options, char **operands, unsigned count)
{
    struct failure failure = {0};
    json_t *health = http_get(cli, NULL, "/health", &failure);
    const json_t *daemon = view_inner(health, "tine", "version");
    int status = CLI_OK;
    if (cli->json)
        status = cli_print_json(json_pack("{s:s, s:o}", "tine", TINE_VERSION, "tined",
                                          daemon ? json_copy((json_t *)daemon) : json_null()));
    else if (daemon)
        printf("tine %s\ntined %s\n", TINE_VERSION, json_string_value(daemon));
    else
        printf("tine %s\ntined does not answer on %s\n", TINE_VERSION, cli_where(cli));
    json_decref(health);
    return status;
}

const struct command version_command = {
    .name = "version",
    .operands = "",
    .summary = "Print the versions of tine and tined",
    .examples = "  tine version\n"
                "  tine version --json | jq -r .tined\n",
    .run = version_run,
};
