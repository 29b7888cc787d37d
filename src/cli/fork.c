/* SPDX-License-Identifier: Apache-2.0 */
/* tine fork: one instance becomes many. */
#include <stdlib.h>

#include "base/cleanup.h"
#include "cli/command.h"
#include "cli/fork_many.h"
#include "cli/http.h"
#include "cli/instance_view.h"

/* The source's own name, which the reference may only begin. */
static json_t *source_read(const struct cli *cli, const char *reference, struct failure *failure)
{
    _cleanup_(free) char *path = instance_path(reference, "");
    return http_get(cli, NULL, path, failure);
}

static int fork_run(const struct cli *cli, const void *data, char **operands, unsigned count)
{
    const struct fork_options *options = data;
    struct failure failure = {0};
    int status = fork_check(cli, options);
    if (status != CLI_OK)
        return status;
    bool named = options->name || options->prefix;
    _cleanup_(json) json_t *instance = named ? NULL : source_read(cli, operands[0], &failure);
    if (!named && !instance)
        return cli_fail(cli, operands[0], &failure);
    _cleanup_(free) char *path = instance_path(operands[0], "/fork");
    if (!path)
        return CLI_FAILED;
    const struct fork_source source = {operands[0], path, view_text(instance, "name")};
    return fork_many(cli, options, &source);
}

#define OPTION(member) offsetof(struct fork_options, member)

static const struct command_option fork_options[] = {
    {"count", 'n', OPTION_NUMBER, OPTION(count), "N", "how many forks (default 1)"},
    {"name", 0, OPTION_TEXT, OPTION(name), "NAME", "the name of the one fork"},
    {"name-prefix", 0, OPTION_TEXT, OPTION(prefix), "P", "call the forks P-1, P-2 ..."},
    {"from-running", 0, OPTION_FLAG, OPTION(from_running), NULL,
     "fork a running source: it stands still for a moment and goes on"},
    {"target-state", 0, OPTION_TEXT, OPTION(target), "STATE",
     "Running, Standby or Stopped (default: the source's state)"},
};

const struct command fork_command = {
    .name = "fork",
    .operands = "SOURCE",
    .summary = "Make independent copies of an instance",
    .details = "A fork has its source's memory and disks at this moment and its own identity, and\n"
               "owns all its files: the source may be deleted at any time. Forks are made at the\n"
               "same time, one line each as it gets ready. Without a name or prefix they take the\n"
               "source's name and the lowest free numbers. If some fail, the others stay, each\n"
               "failure is told, and the exit status is not 0.\n",
    .examples = "  tine standby web && tine fork web --count 25 --target-state Running\n"
                "  tine fork web --name web-test --from-running\n"
                "  tine fork web --count 3 --name-prefix job --target-state Standby\n"
                "  tine fork web --count 25 --json | jq '.instances[].elapsed_ms'\n",
    .options = fork_options,
    .option_count = ARRAY_SIZE(fork_options),
    .options_size = sizeof(struct fork_options),
    .operands_min = 1,
    .operands_max = 1,
    .run = fork_run,
};
