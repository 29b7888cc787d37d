/* SPDX-License-Identifier: Apache-2.0 */
/* What every command of tine shares: the context, exit statuses, and ways to end with an error. */
#ifndef TINE_CLI_CLI_H
#define TINE_CLI_CLI_H

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>

#include "api/json_text.h"

enum cli_exit {
    CLI_OK = 0,
    CLI_FAILED = 1,      /* the operation failed */
    CLI_USAGE = 2,       /* wrong usage */
    CLI_UNREACHABLE = 3, /* tined does not answer */
};

struct command;

struct cli {
    const char *socket; /* tined's */
    const char *host;   /* tined's HOST:PORT, used instead of the socket; NULL: the socket */
    const char *token;  /* for the host; NULL: none */
    bool json;          /* output for programs */
    const struct command *command;
};

/* Why something failed, and the exit status that follows. */
struct failure {
    int exit_status; /* 0: none */
    char code[64];   /* for programs: the API's, or "unreachable", "failed" */
    char message[1280];
};

/* Fills `failure`; returns its exit status. */
int failure_set(struct failure *failure, int exit_status, const char *code, const char *format, ...)
    __attribute__((format(printf, 4, 5)));

/* Takes "http://HOST:PORT"; `origin` is where the user wrote it. Returns CLI_OK or CLI_USAGE. */
int cli_set_host(struct cli *cli, const char *origin, const char *url);
/* Where tined is, for messages. */
const char *cli_where(const struct cli *cli);

/* "tine: COMMAND SUBJECT: MESSAGE" on standard error (subject may be NULL). Returns the status. */
int cli_report(const struct cli *cli, const char *subject, const struct failure *failure);
/* The same, and with --json the failure as an object on standard output: for commands that print
 * one object. */
int cli_fail(const struct cli *cli, const char *subject, const struct failure *failure);
/* One line about wrong usage on standard error. Returns CLI_USAGE. */
int cli_usage(const struct cli *cli, const char *format, ...) __attribute__((format(printf, 2, 3)));

/* For texts that may quote what a guest or a file said: nothing in them may steer the terminal. */
void cli_print_plain(FILE *stream, const char *text);

/* Prints the value and frees it: indented for --json. Returns CLI_OK, or CLI_FAILED if standard
 * output does not take it. */
int cli_print_json(json_t *value);
/* An output error (a full disk) must not pass for success. */
int cli_finish_output(int status);

json_t *failure_json(const struct failure *failure);

#endif
