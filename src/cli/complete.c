/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/complete.h"

#include <stdio.h>
#include <string.h>

#include "base/cleanup.h"
#include "cli/command.h"
#include "cli/http.h"
#include "cli/instance_view.h"
#include "cli/policy_options.h"

/* What the words before the last one leave to be said. */
struct position {
    const struct command *command;       /* NULL: not named yet, or nobody knows it */
    const struct command *const *table;  /* that the next word may name a command of; NULL: none */
    const struct command_option *option; /* whose value comes next; NULL: none */
    unsigned operands;                   /* already there */
    bool options_over, rest;             /* rest: what comes is another program's */
    const char *socket;
};

static void candidate(const char *text, const char *typed)
{
    if (strncmp(text, typed, strlen(typed)) == 0)
        printf("%s\n", text);
}

static const struct command_option *find_option(const struct command_option *options, size_t count,
                                                const char *word)
{
    for (size_t i = 0; i < count; i++) {
        bool is_long = strncmp(word, "--", 2) == 0 && strcmp(word + 2, options[i].name) == 0;
        bool is_short = word[1] == options[i].letter && word[1] != '\0' && word[2] == '\0';
        if (is_long || is_short)
            return &options[i];
    }
    return NULL;
}

/* Of the command, or of all. */
static const struct command_option *option_of(const struct position *position, const char *word)
{
    const struct command *command = position->command;
    const struct command_option *option =
        command ? find_option(command->options, command->option_count, word) : NULL;
    return option ? option : find_option(common_options, common_option_count, word);
}

static void take_word(struct position *position, const char *word)
{
    if (position->option) {
        if (strcmp(position->option->name, "socket") == 0)
            position->socket = word;
        position->option = NULL;
        return;
    }
    if (!position->options_over && word[0] == '-' && word[1] != '\0') {
        const struct command_option *option = option_of(position, word);
        position->options_over = strcmp(word, "--") == 0;
        position->rest = position->options_over && position->command && position->command->has_rest;
        position->option = option && option->kind != OPTION_FLAG ? option : NULL;
        return;
    }
    const struct command *found = position->table ? command_find(position->table, word) : NULL;
    bool explains = position->command == &help_command; /* names commands without being them */
    position->table = found ? found->subcommands : NULL;
    if (explains)
        return;
    if (found && position->operands == 0) {
        position->command = found;
        if (found == &help_command)
            position->table = commands;
        return;
    }
    position->operands++;
    position->options_over =
        position->options_over || !position->command || position->command->options_end;
}

static void print_options(const struct command_option *options, size_t count, const char *typed)
{
    for (size_t i = 0; i < count; i++) {
        char text[64];
        snprintf(text, sizeof(text), "--%s", options[i].name);
        candidate(text, typed);
    }
}

static void print_commands(const struct command *const *table, const char *typed)
{
    for (size_t i = 0; table[i]; i++)
        candidate(command_word(table[i]), typed);
}

static void print_instances(const struct cli *cli, const char *typed)
{
    struct failure failure = {0};
    _cleanup_(json) json_t *list = http_get(cli, NULL, "/instances", &failure);
    size_t i;
    json_t *instance;
    json_array_foreach(list, i, instance) candidate(view_text(instance, "name"), typed);
}

/* As people call them: SOURCE/NAME; by id if they have no name. */
static void print_snapshots(const struct cli *cli, const char *typed)
{
    struct failure failure = {0};
    _cleanup_(json) json_t *list = http_get(cli, NULL, "/snapshots", &failure);
    size_t i;
    json_t *snapshot;
    json_array_foreach(list, i, snapshot)
    {
        char text[160];
        const char *name = view_text(snapshot, "name");
        snprintf(text, sizeof(text), "%s/%s", view_text(snapshot, "source_instance_name"), name);
        candidate(*name ? text : view_text(snapshot, "id"), typed);
    }
}

/* As people call them: without what is added to a short name. */
static void image_candidate(const char *name, const char *typed)
{
    static const char *const prefixes[] = {"docker.io/library/", "docker.io/"};
    static const char tag[] = ":latest";
    char text[320];
    for (size_t i = 0; i < ARRAY_SIZE(prefixes); i++) {
        size_t length = strlen(prefixes[i]);
        name += strncmp(name, prefixes[i], length) == 0 ? length : 0;
    }
    snprintf(text, sizeof(text), "%s", name);
    size_t length = strlen(text);
    if (length >= sizeof(tag) && strcmp(text + length + 1 - sizeof(tag), tag) == 0)
        text[length + 1 - sizeof(tag)] = '\0';
    candidate(text, typed);
}

static void print_images(const struct cli *cli, const char *typed)
{
    struct failure failure = {0};
    _cleanup_(json) json_t *list = http_get(cli, NULL, "/images", &failure);
    size_t i;
    json_t *image;
    json_array_foreach(list, i, image) image_candidate(view_text(image, "name"), typed);
}

static void print_value(const struct cli *cli, const struct command_option *option,
                        const char *typed)
{
    static const struct {
        const char *value, *words[7];
    } known[] = {
        {"STATE", {"Running", "Standby", "Stopped"}},
        {"COLUMN", {"cpu", "private", "shared", "owners", "name", "age"}},
        {RESTART_VALUE, {"never", "always", "on-failure"}},
    };
    for (size_t i = 0; i < ARRAY_SIZE(known); i++) {
        bool is_it = option->value && strcmp(option->value, known[i].value) == 0;
        for (size_t word = 0; is_it && known[i].words[word]; word++)
            candidate(known[i].words[word], typed);
    }
    if (option->value && strcmp(option->value, "IMAGE") == 0)
        print_images(cli, typed);
}

/* The word of the usage line that stands for operand number `n`; the last may stand for more
 * ("..."). NULL: there is none, or it belongs to another program. */
static const char *operand_word(const struct command *command, unsigned n)
{
    const char *word = command->operands;
    if (n >= command->operands_max || *word == '\0' || (n > 0 && command->options_end))
        return NULL;
    for (; n > 0; n--) {
        const char *space = strchr(word, ' ');
        if (!space || space[1] == '[')
            return strstr(word, "...") ? word : NULL;
        word = space + 1;
    }
    return word;
}

static void print_operand(const struct cli *cli, const struct position *position, const char *typed)
{
    static const struct {
        const char *word;
        void (*print)(const struct cli *cli, const char *typed);
    } kinds[] = {{"NAME", print_instances},
                 {"SOURCE", print_instances},
                 {"SNAPSHOT", print_snapshots},
                 {"IMAGE", print_images}};
    const char *word = operand_word(position->command, position->operands);
    if (!word || position->rest)
        return;
    word += *word == '[';
    for (size_t i = 0; i < ARRAY_SIZE(kinds); i++) {
        size_t length = strlen(kinds[i].word);
        /* Not of "NAME:PATH", which goes on behind the name. */
        if (strncmp(word, kinds[i].word, length) == 0 && word[length] != ':')
            kinds[i].print(cli, typed);
    }
    if (strcmp(word, "bash") == 0)
        candidate("bash", typed);
}

void complete_print(const struct cli *cli, char **words, unsigned count)
{
    static const struct command_option version = {.name = "version"};
    struct position position = {.socket = cli->socket, .table = commands};
    const char *typed = count > 0 ? words[count - 1] : "";
    for (unsigned i = 0; i + 1 < count; i++)
        take_word(&position, words[i]);
    struct cli other = *cli;
    other.socket = position.socket;
    const struct command *command = position.command;
    if (position.option) {
        print_value(&other, position.option, typed);
    } else if (typed[0] == '-' && !position.options_over) {
        if (command)
            print_options(command->options, command->option_count, typed);
        else
            print_options(&version, 1, typed);
        print_options(common_options, common_option_count, typed);
    } else if (position.table) {
        print_commands(position.table, typed);
    } else if (command && command != &help_command) {
        print_operand(&other, &position, typed);
    }
}
