/* SPDX-License-Identifier: Apache-2.0 */
/* tine rm: delete instances. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "cli/batch.h"
#include "cli/command.h"
#include "cli/instance_view.h"

struct rm_options {
    bool force;
};

/* Without -f one that runs is refused, before anything is deleted. */
static int refuse_running(const struct cli *cli, char **names, unsigned count)
{
    int status = CLI_OK;
    for (unsigned i = 0; i < count; i++) {
        struct failure failure = {0};
        _cleanup_(free) char *path = instance_path(names[i], "");
        _cleanup_(json) json_t *instance = http_get(cli, NULL, path, &failure);
        const char *state = view_text(instance, "state");
        bool asleep = strcmp(state, "Stopped") == 0 || strcmp(state, "Standby") == 0 ||
                      strcmp(state, "Unknown") == 0;
        if (instance && !asleep)
            failure_set(&failure, CLI_FAILED, "invalid_state",
                        "it is %s: stop it first, or use rm -f; nothing was removed", state);
        if (failure.exit_status != 0)
            status = cli_fail(cli, names[i], &failure);
        if (status != CLI_OK)
            return status;
    }
    return status;
}

static int rm_run(const struct cli *cli, const void *data, char **operands, unsigned count)
{
    const struct rm_options *options = data;
    int status = options->force ? CLI_OK : refuse_running(cli, operands, count);
    if (status != CLI_OK)
        return status;
    return batch_over_names(cli, "removing", "DELETE", "", NULL, operands, count);
}

static const struct command_option rm_options[] = {
    {"force", 'f', OPTION_FLAG, offsetof(struct rm_options, force), NULL,
     "also those that have a VM: it is ended first"},
};

const struct command rm_command = {
    .name = "rm",
    .operands = "NAME...",
    .summary = "Delete instances",
    .details =
        "Deletes all that the instance owns; there is no way back. Its forks are not affected.\n"
        "One that has a VM is refused, before anything is deleted, unless -f is given.\n",
    .examples = "  tine rm web\n"
                "  tine rm -f web-1 web-2\n",
    .options = rm_options,
    .option_count = ARRAY_SIZE(rm_options),
    .options_size = sizeof(struct rm_options),
    .operands_min = 1,
    .operands_max = OPERANDS_ANY,
    .run = rm_run,
};
