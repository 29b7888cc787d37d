/* SPDX-License-Identifier: Apache-2.0 */
/* From a table of options to getopt_long() and back. */
#include <errno.h>
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/duration.h"
#include "base/size.h"
#include "cli/command.h"
#include "cli/nearest.h"

#define OPTIONS_MAX 32
#define NUMBER_MAX  1000000
#define LONG_BASE   256 /* getopt's value for the option of that index; letters are below */

/* Common options land in struct cli; `help` is the one that does not. */
struct common_target {
    const char *socket, *host;
    bool json, help;
};

const struct command_option common_options[] = {
    {"socket", 0, OPTION_TEXT, offsetof(struct common_target, socket), "PATH",
     "tined's socket (default $TINE_SOCKET or /run/tine/tined.sock)"},
    {"host", 0, OPTION_TEXT, offsetof(struct common_target, host), "URL",
     "a tined that serves TCP, http://HOST:PORT (default $TINE_HOST), with the token in "
     "$TINE_TOKEN"},
    {"json", 0, OPTION_FLAG, offsetof(struct common_target, json), NULL, "output for programs"},
    {"help", 'h', OPTION_FLAG, offsetof(struct common_target, help), NULL, "explain the command"},
};
const size_t common_option_count = ARRAY_SIZE(common_options);

/* Each setter stores the text at `target` or says what is wrong with it. */
typedef int option_setter(void *target, const char *text, struct error *err);

static int set_flag(void *target, const char *text, struct error *err)
{
    *(bool *)target = true;
    return 0;
}

static int set_text(void *target, const char *text, struct error *err)
{
    *(const char **)target = text;
    return 0;
}

static int set_number(void *target, const char *text, struct error *err)
{
    char *end;
    errno = 0;
    unsigned long number = strtoul(text, &end, 10);
    if (errno != 0 || *end || *text < '0' || *text > '9' || number > NUMBER_MAX)
        return error_set(err, ERROR_INVALID, EINVAL, "\"%s\" is not a whole number up to %d", text,
                         NUMBER_MAX);
    *(unsigned *)target = (unsigned)number;
    return 0;
}

static int set_size(void *target, const char *text, struct error *err)
{
    return size_parse(text, target, err);
}

static int set_duration(void *target, const char *text, struct error *err)
{
    int r = duration_parse(text, target, err);
    if (r == 0 && *(int64_t *)target < 0)
        return error_set(err, ERROR_INVALID, EINVAL, "\"%s\" is negative", text);
    return r;
}

static int set_list(void *target, const char *text, struct error *err)
{
    struct option_list *list = target;
    if (list->count == OPTION_LIST_MAX)
        return error_set(err, ERROR_INVALID, EINVAL, "given more than %d times", OPTION_LIST_MAX);
    list->items[list->count++] = text;
    return 0;
}

static option_setter *const setters[] = {
    [OPTION_FLAG] = set_flag, [OPTION_TEXT] = set_text,         [OPTION_NUMBER] = set_number,
    [OPTION_SIZE] = set_size, [OPTION_DURATION] = set_duration, [OPTION_LIST] = set_list,
};

/* The command's options and the common ones, as getopt_long wants them. */
struct parser {
    const struct command_option *options[OPTIONS_MAX];
    void *targets[OPTIONS_MAX];
    struct option longs[OPTIONS_MAX + 1];
    char shorts[3 + 2 * OPTIONS_MAX];
    size_t count;
};

static void parser_add(struct parser *parser, const struct command_option *options, size_t count,
                       void *target)
{
    for (size_t i = 0; i < count && parser->count < OPTIONS_MAX; i++) {
        size_t n = parser->count++;
        bool value = options[i].kind != OPTION_FLAG;
        parser->options[n] = &options[i];
        parser->targets[n] = (char *)target + options[i].offset;
        parser->longs[n] = (struct option){options[i].name, value ? required_argument : no_argument,
                                           NULL, LONG_BASE + (int)n};
        if (!options[i].letter)
            continue;
        size_t used = strlen(parser->shorts);
        snprintf(parser->shorts + used, sizeof(parser->shorts) - used, "%c%s", options[i].letter,
                 value ? ":" : "");
    }
}

/* The index of what getopt_long found; -1 if it is none of ours. */
static int parser_find(const struct parser *parser, int found)
{
    if (found >= LONG_BASE)
        return found - LONG_BASE;
    for (size_t i = 0; i < parser->count; i++) {
        if (found != 0 && parser->options[i]->letter == found)
            return (int)i;
    }
    return -1;
}

static int unknown_option(const struct cli *cli, const struct parser *parser, const char *argument)
{
    int known = parser_find(parser, optopt);
    if (known >= 0)
        return cli_usage(cli, "--%s takes no value", parser->options[known]->name);
    if (strncmp(argument, "--", 2) != 0)
        return cli_usage(cli, "unknown option -%c", optopt);
    const char *names[OPTIONS_MAX];
    for (size_t i = 0; i < parser->count; i++)
        names[i] = parser->options[i]->name;
    const char *near = nearest_word(argument + 2, names, parser->count);
    if (near)
        return cli_usage(cli, "unknown option %s, did you mean --%s?", argument, near);
    return cli_usage(cli, "unknown option %s", argument);
}

static int parse_options(const struct cli *cli, const struct parser *parser, int argc, char **argv)
{
    int found;
    opterr = 0;
    optind = 0; /* 0 makes glibc begin afresh: the global options were parsed before */
    while ((found = getopt_long(argc, argv, parser->shorts, parser->longs, NULL)) != -1) {
        int index = parser_find(parser, found == ':' ? optopt : found);
        if (found == '?')
            return unknown_option(cli, parser, argv[optind - 1]);
        if (found == ':' && index >= 0)
            return cli_usage(cli, "--%s needs a value: %s", parser->options[index]->name,
                             parser->options[index]->value);
        if (index < 0)
            return cli_usage(cli, "unknown option %s", argv[optind - 1]);
        struct error err = {0};
        const struct command_option *option = parser->options[index];
        if (setters[option->kind](parser->targets[index], optarg, &err) < 0)
            return cli_usage(cli, "--%s: %s", option->name, err.message);
    }
    return CLI_OK;
}

static int check_operands(const struct cli *cli, unsigned count, char **operands)
{
    const struct command *command = cli->command;
    if (count < command->operands_min)
        return cli_usage(cli, "usage: tine %s %s", command->name, command->operands);
    if (count > command->operands_max)
        return cli_usage(cli, "unexpected argument \"%s\"", operands[command->operands_max]);
    return CLI_OK;
}

/* What was said last counts: a socket makes an earlier host void. */
static int place_set(struct cli *cli, const struct common_target *common)
{
    if (common->socket && common->host)
        return cli_usage(cli, "--socket and --host exclude each other");
    if (common->host)
        return cli_set_host(cli, "--host", common->host);
    if (common->socket) {
        cli->socket = common->socket;
        cli->host = NULL;
    }
    return CLI_OK;
}

/* Cuts off what is behind "--". Returns how many arguments are left. */
static int take_rest(const struct command *command, int argc, char **argv, void *options)
{
    int i = 1;
    while (i < argc && strcmp(argv[i], "--") != 0)
        i++;
    if (!command->has_rest || i >= argc)
        return argc;
    *(struct command_rest *)(void *)((char *)options + command->rest) =
        (struct command_rest){argv + i + 1, (unsigned)(argc - i - 1)};
    return i;
}

int command_parse(struct cli *cli, int argc, char **argv, void *options, bool *help,
                  char ***operands, unsigned *count)
{
    struct parser parser = {0};
    struct common_target common = {.json = cli->json};
    argc = take_rest(cli->command, argc, argv, options);
    snprintf(parser.shorts, sizeof(parser.shorts), cli->command->options_end ? "+:" : ":");
    parser_add(&parser, cli->command->options, cli->command->option_count, options);
    parser_add(&parser, common_options, common_option_count, &common);
    int r = parse_options(cli, &parser, argc, argv);
    if (r == CLI_OK)
        r = place_set(cli, &common);
    if (r != CLI_OK)
        return r;
    cli->json = common.json;
    *help = common.help;
    *operands = argv + optind;
    *count = (unsigned)(argc - optind);
    return *help ? CLI_OK : check_operands(cli, *count, *operands);
}
