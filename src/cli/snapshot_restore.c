/* SPDX-License-Identifier: Apache-2.0 */
/* tine snapshot restore: an instance becomes again what it was. */
#include <stdio.h>

#include "base/cleanup.h"
#include "cli/command.h"
#include "cli/fork_many.h"
#include "cli/instance_view.h"
#include "cli/snapshot_find.h"

struct restore_options {
    const char *target, *hypervisor;
};

static json_t *restore(const struct cli *cli, const char *instance, const char *snapshot,
                       const char *target, const char *hypervisor, struct failure *failure)
{
    char rest[128];
    _cleanup_(json) json_t *found = snapshot_find(cli, snapshot, failure);
    if (!found)
        return NULL;
    snprintf(rest, sizeof(rest), "/snapshots/%.64s/restore", view_text(found, "id"));
    _cleanup_(free) char *path = instance_path(instance, rest);
    json_t *body = json_object();
    if (target)
        json_object_set_new(body, "target_state", json_string(target));
    if (hypervisor)
        json_object_set_new(body, "target_hypervisor", json_string(hypervisor));
    return http_post(cli, "restoring", path, body, failure);
}

static int restore_run(const struct cli *cli, const void *data, char **operands, unsigned count)
{
    const struct restore_options *options = data;
    struct failure failure = {0};
    const char *target = options->target ? target_spelling(options->target) : NULL;
    if (options->target && !target)
        return cli_usage(cli, "--target-state: \"%s\" is not Running, Standby or Stopped",
                         options->target);
    _cleanup_(json) json_t *instance =
        restore(cli, operands[0], operands[1], target, options->hypervisor, &failure);
    if (!instance)
        return cli_fail(cli, operands[0], &failure);
    if (cli->json)
        return cli_print_json(json_incref(instance));
    printf("%s  %.12s  %s %6.0f ms\n", view_text(instance, "name"), view_text(instance, "id"),
           view_text(instance, "state"),
           json_number_value(json_object_get(instance, "elapsed_ms")));
    return CLI_OK;
}

static const struct command_option restore_options[] = {
    {"target-state", 0, OPTION_TEXT, offsetof(struct restore_options, target), "STATE",
     "Running, Standby or Stopped (default: Running; of kind Stopped: Stopped)"},
    {"hypervisor", 0, OPTION_TEXT, offsetof(struct restore_options, hypervisor), "NAME",
     "go over to this one: builtin or firecracker; of kind Stopped only"},
};

const struct command snapshot_restore_command = {
    .name = "snapshot restore",
    .operands = "NAME SNAPSHOT",
    .summary = "Put an instance back to one of its snapshots",
    .details = "What the instance has now, memory and disks, is given up; its id and name stay.\n"
               "It must not be running, and the snapshot must be of it: to make another instance\n"
               "of it, use snapshot fork. If it can't be brought to its target state, it is as\n"
               "before.\n",
    .examples = "  tine stop web && tine snapshot restore web web/warm\n"
                "  tine snapshot restore web k3v9w2 --target-state Standby\n",
    .options = restore_options,
    .option_count = ARRAY_SIZE(restore_options),
    .options_size = sizeof(struct restore_options),
    .operands_min = 2,
    .operands_max = 2,
    .run = restore_run,
};
