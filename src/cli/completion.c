/* SPDX-License-Identifier: Apache-2.0 */
/* tine completion: what a shell has to be told. The shell asks this same program for candidates, so
 * that they are always those of its commands. */
#include <stdio.h>
#include <string.h>

#include "cli/command.h"
#include "cli/complete.h"

/* A name from the daemon may hold nothing that a shell would take apart: see instance names. Where
 * there are no candidates bash goes on with file names. */
static const char bash_script[] =
    "# bash completion for tine: source <(tine completion bash)\n"
    "_tine() {\n"
    "    local candidate\n"
    "    COMPREPLY=()\n"
    "    while IFS= read -r candidate; do\n"
    "        COMPREPLY+=(\"$candidate\")\n"
    "    done < <(\"${COMP_WORDS[0]}\" completion words -- \"${COMP_WORDS[@]:1:COMP_CWORD}\" "
    "2>/dev/null)\n"
    "}\n"
    "complete -o bashdefault -o default -F _tine tine\n";

static int completion_run(const struct cli *cli, const void *options, char **operands,
                          unsigned count)
{
    if (strcmp(operands[0], "words") == 0) {
        complete_print(cli, operands + 1, count - 1);
        return CLI_OK;
    }
    if (strcmp(operands[0], "bash") != 0)
        return cli_usage(cli, "\"%s\" is not a shell that is known here: bash is", operands[0]);
    if (count > 1)
        return cli_usage(cli, "unexpected argument \"%s\"", operands[1]);
    fputs(bash_script, stdout);
    return CLI_OK;
}

const struct command completion_command = {
    .name = "completion",
    .operands = "bash",
    .summary = "Print what bash needs to complete tine's words",
    .details = "Commands, options and names of instances; the names come from tined.\n",
    .examples = "  source <(tine completion bash)\n"
                "  tine completion bash >/etc/bash_completion.d/tine\n",
    .operands_min = 1,
    .operands_max = OPERANDS_ANY,
    .run = completion_run,
};
