/* SPDX-License-Identifier: Apache-2.0 */
/* tine snapshot fork: one snapshot becomes many instances. */
#include "base/cleanup.h"
#include "cli/command.h"
#include "cli/fork_many.h"
#include "cli/instance_view.h"
#include "cli/snapshot_find.h"

static int fork_run(const struct cli *cli, const void *data, char **operands, unsigned count)
{
    const struct fork_options *options = data;
    struct failure failure = {0};
    int status = fork_check(cli, options);
    if (status != CLI_OK)
        return status;
    _cleanup_(json) json_t *snapshot = snapshot_find(cli, operands[0], &failure);
    if (!snapshot)
        return cli_fail(cli, operands[0], &failure);
    _cleanup_(free) char *path = snapshot_path(view_text(snapshot, "id"), "/fork");
    if (!path)
        return CLI_FAILED;
    const struct fork_source source = {operands[0], path,
                                       view_text(snapshot, "source_instance_name")};
    return fork_many(cli, options, &source);
}

#define OPTION(member) offsetof(struct fork_options, member)

static const struct command_option fork_options[] = {
    {"count", 'n', OPTION_NUMBER, OPTION(count), "N", "how many forks (default 1)"},
    {"name", 0, OPTION_TEXT, OPTION(name), "NAME", "the name of the one fork"},
    {"name-prefix", 0, OPTION_TEXT, OPTION(prefix), "P", "call the forks P-1, P-2 ..."},
    {"target-state", 0, OPTION_TEXT, OPTION(target), "STATE",
     "Running, Standby or Stopped (default: Running; of kind Stopped: Stopped)"},
    {"hypervisor", 0, OPTION_TEXT, OPTION(hypervisor), "NAME",
     "go over to this one: builtin or firecracker; of kind Stopped only"},
};

const struct command snapshot_fork_command = {
    .name = "snapshot fork",
    .operands = "SNAPSHOT",
    .summary = "Make new instances of a snapshot",
    .details = "As tine fork: all are made at the same time, each owns all its files, and the\n"
               "snapshot stays as it is. Without a name or prefix they take the name of the\n"
               "snapshot's source and the lowest free numbers. Of kind Stopped the target can be\n"
               "Stopped or Running.\n",
    .examples = "  tine snapshot fork web/warm --count 25\n"
                "  tine snapshot fork web/warm --name web-test --target-state Standby\n"
                "  tine snapshot fork k3v9w2 --count 3 --name-prefix job --json\n",
    .options = fork_options,
    .option_count = ARRAY_SIZE(fork_options),
    .options_size = sizeof(struct fork_options),
    .operands_min = 1,
    .operands_max = 1,
    .run = fork_run,
};
