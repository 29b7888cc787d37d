/* SPDX-License-Identifier: Apache-2.0 */
/* tine snapshot: the table of its commands. */
#include "cli/command.h"

static const struct command *const subcommands[] = {
    &snapshot_create_command,
    &snapshot_ls_command,
    &snapshot_inspect_command,
    &snapshot_fork_command,
    &snapshot_restore_command,
    &snapshot_rm_command,
    NULL,
};

const struct command snapshot_command = {
    .name = "snapshot",
    .operands = "COMMAND [ARGUMENT...]",
    .summary = "Capture instances, and make others of what was captured",
    .details =
        "A snapshot holds what an instance was at one moment: with kind Standby memory, devices\n"
        "and disks, with kind Stopped disks alone. It owns all its files: its source may be\n"
        "deleted, and so may it, without a trace in what was made of it.\n\n"
        "SNAPSHOT is its id, the beginning of its id if no other begins so, or SOURCE/NAME: its\n"
        "source instance's name and its own. tine help snapshot COMMAND tells more.\n",
    .examples = "  tine snapshot create web --name warm\n"
                "  tine snapshot fork web/warm --count 25\n",
    .operands_min = 1,
    .operands_max = OPERANDS_ANY,
    .options_end = true,
    .subcommands = subcommands,
};
