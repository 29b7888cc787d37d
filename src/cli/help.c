/* SPDX-License-Identifier: Apache-2.0 */
#include <stdio.h>

#include "cli/command.h"

static void print_options(const struct command_option *options, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        char left[64], letter[8] = "    ";
        if (options[i].letter)
            snprintf(letter, sizeof(letter), "-%c, ", options[i].letter);
        snprintf(left, sizeof(left), "%s--%s%s%s", letter, options[i].name,
                 options[i].value ? " " : "", options[i].value ? options[i].value : "");
        printf("  %-28s %s\n", left, options[i].help);
    }
}

static void print_commands(const struct command *const *table)
{
    for (size_t i = 0; table[i]; i++)
        printf("  %-10s %s\n", command_word(table[i]), table[i]->summary);
}

void help_print_all(void)
{
    printf(
        "Usage: tine [--socket PATH | --host URL] [--json] COMMAND [ARGUMENT...]\n\n"
        "Runs microVMs and forks them. An instance is one VM with its memory and disks. NAME is\n"
        "an instance's name, its id, or the beginning of its id if no other begins so.\n\n"
        "First steps:\n"
        "  tine doctor                          what this machine can do\n"
        "  tine run --name web                  boot an instance\n"
        "  tine exec web uname -a               run a command in it\n"
        "  tine standby web                     put it to sleep\n"
        "  tine fork web -n 3 --target-state Running\n"
        "                                       three running copies of it\n\n"
        "Commands:\n");
    print_commands(commands);
    printf("\nOptions of every command:\n");
    print_options(common_options, common_option_count);
    printf(
        "\nExit status: 0 done, 1 the operation failed, 2 wrong usage, 3 tined does not answer;\n"
        "exec ends with the status of its command. tine help COMMAND tells more.\n");
}

void help_print_command(const struct command *command)
{
    printf("Usage: tine %s [OPTION...]%s%s\n\n%s.\n", command->name, *command->operands ? " " : "",
           command->operands, command->summary);
    if (command->details)
        printf("\n%s", command->details);
    if (command->subcommands) {
        printf("\nCommands:\n");
        print_commands(command->subcommands);
    }
    printf("\nOptions:\n");
    print_options(command->options, command->option_count);
    print_options(common_options, common_option_count);
    if (command->examples)
        printf("\nExamples:\n%s", command->examples);
}

/* "help snapshot fork" is about the command of that name in the table of "snapshot". */
static int help_run(const struct cli *cli, const void *options, char **operands, unsigned count)
{
    const struct command *const *table = commands;
    const struct command *command = NULL;
    if (count == 0) {
        help_print_all();
        return CLI_OK;
    }
    for (unsigned i = 0; i < count; i++) {
        command = table ? command_find(table, operands[i]) : NULL;
        if (!command)
            return cli_usage(cli, "unknown command \"%s\"", operands[i]);
        table = command->subcommands;
    }
    help_print_command(command);
    return CLI_OK;
}

const struct command help_command = {
    .name = "help",
    .operands = "[COMMAND...]",
    .summary = "Explain tine or one command",
    .examples = "  tine help\n"
                "  tine help fork\n"
                "  tine help snapshot create\n",
    .operands_max = 2,
    .run = help_run,
};
