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
    &run_command,   &ps_command,     &inspect_command, &logs_command,
    &exec_command,  &fork_command,   &standby_command, &restore_command,
    &stop_command,  &start_command,  &rm_command,      &stats_command,
    &token_command, &doctor_command, &version_command, &help_command,
    NULL,
};

const struct command *command_find(const char *name)
{
    for (size_t i = 0; commands[i]; i++) {
        if (strcmp(commands[i]->name, name) == 0)
            return commands[i];
    }
    return NULL;
}

static int unknown_command(const struct cli *cli, const char *name)
{
    const char *names[COMMANDS_MAX];
    size_t count = 0;
    for (; commands[count] && count < COMMANDS_MAX; count++)
        names[count] = commands[count]->name;
    const char *near = nearest_word(name, names, count);
    if (near)
        return cli_usage(cli, "unknown command \"%s\", did you mean \"%s\"?", name, near);
    return cli_usage(cli, "unknown command \"%s\"", name);
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

static int run_command_named(struct cli *cli, int argc, char **argv)
{
    cli->command = command_find(argv[0]);
    if (!cli->command)
        return unknown_command(cli, argv[0]);
    _cleanup_(free) void *options = calloc(1, cli->command->options_size + 1);
    if (!options)
        return CLI_FAILED;
    bool help = false;
    char **operands;
    unsigned count;
    int r = command_parse(cli, argc, argv, options, &help, &operands, &count);
    if (r != CLI_OK)
        return r;
    if (help) {
        help_print_command(cli->command);
        return CLI_OK;
    }
    return cli->command->run(cli, options, operands, count);
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
    return run_command_named(cli, (int)count, operands);
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
