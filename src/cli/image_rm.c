/* SPDX-License-Identifier: Apache-2.0 */
/* tine image rm: delete images. */
#include "base/cleanup.h"
#include "cli/batch.h"
#include "cli/command.h"

static int rm_run(const struct cli *cli, const void *options, char **operands, unsigned count)
{
    _cleanup_(batch) struct batch *batch = batch_new(cli, count);
    if (!batch)
        return CLI_FAILED;
    batch->label = "removing";
    batch->done_key = "removed";
    for (unsigned i = 0; i < count; i++) {
        batch->calls[i].method = "DELETE";
        batch->calls[i].name = operands[i];
        batch->calls[i].path = image_path(operands[i]);
        if (!batch->calls[i].path)
            return CLI_FAILED;
    }
    return batch_run_all(batch);
}

const struct command image_rm_command = {
    .name = "image rm",
    .operands = "IMAGE...",
    .summary = "Delete images",
    .details =
        "Instances, forks and snapshots made from them are not affected: each has a link of\n"
        "its own to the disk, which is freed with the last of them.\n",
    .examples = "  tine image rm alpine\n"
                "  tine image rm debian:12 ghcr.io/me/tool\n",
    .operands_min = 1,
    .operands_max = OPERANDS_ANY,
    .run = rm_run,
};
