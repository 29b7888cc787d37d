/* SPDX-License-Identifier: Apache-2.0 */
/* tine: the command line. */
#include <curl/curl.h>
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "api/locate.h"
#include "base/cleanup.h"
#include "cli/command.h"
#include "cli/nearest.h"

#define COMMANDS_MAX 64

const struct command *const commands[] = {
    &run_command,   &ps_command,    &inspect_command, &logs_command,       &exec_command,
    &cp_command,    &fork_command,  &standby_command, &restore_command,    &stop_command,
    &start_command, &rm_command,    &update_command,  &snapshot_command,   &warm_command,
    &image_command, &stats_command, &top_command,     &events_command,     &tree_command,
    &wait_command,  &token_command, &doctor_command,  &completion_command, &version_command,
    &help_command,  NULL,
};

const char *command_word(const struct command *command)
{
    const char *space = strrchr(command->name, ' ');
    return space ? space + 1 : command->name;
}

const struct command *command_find(const struct command *const *table, const char *word)
{
    for (size_t i = 0; table[i]; i++) {
        if (strcmp(command_word(table[i]), word) == 0)
            return table[i];
    }
    return NULL;
}

static int unknown_command(const struct cli *cli, const struct command *const *table,
                           const char *word)
{
    const char *words[COMMANDS_MAX];
    size_t count = 0;
    for (; table[count] && count < COMMANDS_MAX; count++)
        words[count] = command_word(table[count]);
    const char *near = nearest_word(word, words, count);
    if (near)
        return cli_usage(cli, "unknown command \"%s\", did you mean \"%s\"?", word, near);
    return cli_usage(cli, "unknown command \"%s\"", word);
}

/* Options in front of the command: the common ones, and --version. */
static const struct command_option global_options[] = {
    {"version", 'V', OPTION_FLAG, 0, NULL, "print the version"},
};
static const struct command global = {
    .options = global_options,
    .option_count = ARRAY_SIZE(global_options),
    .options_size = sizeof(bool),
    .operands_max = OPERANDS_ANY,
    .options_end = true,
};

static int run_command_of(struct cli *cli, const struct command *const *table, int argc,
                          char **argv)
{
    const struct command *command = command_find(table, argv[0]);
    if (!command)
        return unknown_command(cli, table, argv[0]);
    cli->command = command;
    _cleanup_(free) void *options = calloc(1, command->options_size + 1);
    if (!options)
        return CLI_FAILED;
    bool help = false;
    char **operands;
    unsigned count;
    int r = command_parse(cli, argc, argv, options, &help, &operands, &count);
    if (r != CLI_OK)
        return r;
    if (help) {
        help_print_command(command);
        return CLI_OK;
    }
    if (command->subcommands)
        return run_command_of(cli, command->subcommands, (int)count, operands);
    return command->run(cli, options, operands, count);
}

static int run(struct cli *cli, int argc, char **argv)
{
    bool version = false, help = false;
    char **operands;
    unsigned count;
    cli->command = &global;
    int r = command_parse(cli, argc, argv, &version, &help, &operands, &count);
    cli->command = NULL;
    if (r != CLI_OK)
        return r;
    if (version)
        return version_command.run(cli, NULL, NULL, 0);
    if (help) {
        help_print_all();
        return CLI_OK;
    }
    if (count == 0)
        return cli_usage(cli, "a command is needed");
    return run_command_of(cli, commands, (int)count, operands);
}

static const char *environment(const char *name)
{
    const char *value = getenv(name);
    return value && *value ? value : NULL;
}

int main(int argc, char **argv)
{
    const char *socket = environment("TINE_SOCKET"), *host = environment("TINE_HOST");
    struct cli cli = {.socket = socket ? socket : DEFAULT_SOCKET,
                      .token = environment("TINE_TOKEN")};
    if (host && cli_set_host(&cli, "TINE_HOST", host) != CLI_OK)
        return CLI_USAGE;
    curl_global_init(CURL_GLOBAL_DEFAULT);
    int status = cli_finish_output(run(&cli, argc, argv));
    curl_global_cleanup();
    return status;
}
