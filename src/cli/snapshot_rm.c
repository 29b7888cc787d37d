/* SPDX-License-Identifier: Apache-2.0 */
/* tine snapshot rm: delete snapshots. */
#include "base/cleanup.h"
#include "cli/batch.h"
#include "cli/command.h"
#include "cli/instance_view.h"
#include "cli/snapshot_find.h"

/* Fills the calls; what is not there is told before anything is deleted. */
static int find_all(const struct cli *cli, const json_t *list, char **names, struct batch *batch)
{
    int status = CLI_OK;
    for (size_t i = 0; i < batch->count; i++) {
        struct failure failure = {0};
        const json_t *snapshot = snapshot_match(list, names[i], &failure);
        if (!snapshot) {
            status = cli_fail(cli, names[i], &failure);
            continue;
        }
        batch->calls[i].method = "DELETE";
        batch->calls[i].name = names[i];
        batch->calls[i].path = snapshot_path(view_text(snapshot, "id"), "");
        if (!batch->calls[i].path)
            return CLI_FAILED;
    }
    return status;
}

static int rm_run(const struct cli *cli, const void *options, char **operands, unsigned count)
{
    struct failure failure = {0};
    _cleanup_(json) json_t *list = snapshots_get(cli, &failure);
    if (!list)
        return cli_fail(cli, NULL, &failure);
    _cleanup_(batch) struct batch *batch = batch_new(cli, count);
    if (!batch)
        return CLI_FAILED;
    batch->label = "removing";
    batch->done_key = "removed";
    int status = find_all(cli, list, operands, batch);
    return status == CLI_OK ? batch_run_all(batch) : status;
}

const struct command snapshot_rm_command = {
    .name = "snapshot rm",
    .operands = "SNAPSHOT...",
    .summary = "Delete snapshots",
    .details = "Their source and what was made of them are not affected. If one of them is not\n"
               "there, none is deleted.\n",
    .examples = "  tine snapshot rm web/warm\n"
                "  tine snapshot rm k3v9w2 a81bcd\n",
    .operands_min = 1,
    .operands_max = OPERANDS_ANY,
    .run = rm_run,
};
