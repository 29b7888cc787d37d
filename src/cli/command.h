/* SPDX-License-Identifier: Apache-2.0 */
/* A command is a row of a table: its words for help, its options, and what runs it. */
#ifndef TINE_CLI_COMMAND_H
#define TINE_CLI_COMMAND_H

#include <limits.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "cli/cli.h"

/* What an option's value becomes in the command's options struct. */
enum option_kind {
    OPTION_FLAG,     /* bool */
    OPTION_TEXT,     /* const char * */
    OPTION_NUMBER,   /* unsigned, 0 to 1000000 */
    OPTION_SIZE,     /* uint64_t bytes */
    OPTION_DURATION, /* int64_t nanoseconds, not negative */
    OPTION_LIST,     /* struct option_list: may be given several times */
};

#define OPTION_LIST_MAX 64
struct option_list {
    const char *items[OPTION_LIST_MAX];
    unsigned count;
};

/* The words behind "--": a command for the guest. */
struct command_rest {
    char **words;
    unsigned count;
};

struct command_option {
    const char *name;
    char letter; /* 0: none */
    enum option_kind kind;
    size_t offset;     /* in the options struct */
    const char *value; /* how help calls the value; NULL for a flag */
    const char *help;
};

struct command {
    const char *name;     /* of a subcommand: "snapshot ls" */
    const char *operands; /* for the usage line */
    const char *summary;  /* one line, for the list */
    const char *details;  /* more for its own help, or NULL */
    const char *examples; /* lines, or NULL */
    const struct command_option *options;
    size_t option_count, options_size;
    unsigned operands_min, operands_max;
    bool has_rest;    /* what is behind "--" is no operand, but a struct command_rest ... */
    size_t rest;      /* ... here in the options struct */
    bool options_end; /* options end at the first operand, the rest belongs to another program */
    /* Instead of `run`, up to a NULL: the first operand is one of these; options_end is set. */
    const struct command *const *subcommands;
    int (*run)(const struct cli *cli, const void *options, char **operands, unsigned count);
};

#define OPERANDS_ANY UINT_MAX

/* The options that every command takes. */
extern const struct command_option common_options[];
extern const size_t common_option_count;

/* Reads the arguments behind the command's name into `options` and `cli`. Returns CLI_OK and the
 * operands, or CLI_USAGE after one line on standard error. `help` is set when help was asked for.
 */
int command_parse(struct cli *cli, int argc, char **argv, void *options, bool *help,
                  char ***operands, unsigned *count);

/* All commands, in the order of help, up to a NULL. */
extern const struct command *const commands[];
/* The command of that (last) word in a table; NULL if there is none. */
const struct command *command_find(const struct command *const *table, const char *word);
/* What it is called in its table: "ls" for "snapshot ls". */
const char *command_word(const struct command *command);

extern const struct command run_command, ps_command, inspect_command, logs_command, exec_command,
    cp_command, standby_command, restore_command, fork_command, stop_command, start_command,
    rm_command, stats_command, snapshot_command, image_command, top_command, events_command,
    tree_command, wait_command, warm_command, update_command, token_command, completion_command,
    doctor_command, version_command, help_command;

extern const struct command snapshot_create_command, snapshot_ls_command, snapshot_inspect_command,
    snapshot_restore_command, snapshot_fork_command, snapshot_rm_command;

extern const struct command image_import_command, image_ls_command, image_inspect_command,
    image_rm_command;

/* Help on standard output: everything, or one command. */
void help_print_all(void);
void help_print_command(const struct command *command);

#endif
