/* SPDX-License-Identifier: Apache-2.0 */
/* Runs the tine program as a user would, and keeps what it said. */
#ifndef TINE_TESTS_CLI_PROGRAM_H
#define TINE_TESTS_CLI_PROGRAM_H

#include <jansson.h>
#include <stddef.h>
#include <sys/types.h>
#include <termios.h>

#include "daemon.h"

struct outcome {
    int status; /* 128 + N for a signal */
    char *out, *err;
};

/* A running tine; on a terminal of its own (pty) if `terminal` is not -1. */
struct program {
    pid_t pid;
    int in, out, err; /* ends of pipes; -1 if closed */
    int terminal;     /* the master of its terminal, or -1 */
};

/* Where tine is, set once by main(). */
void program_path_set(const char *path);

/* `arguments`: the words of a command line, split at spaces (no quoting); %s is the socket. */
void program_start(struct program *program, const struct daemon *daemon, const char *arguments);
/* With standard input, output and error on a terminal of that size. */
void program_start_terminal(struct program *program, const struct daemon *daemon,
                            const char *arguments, unsigned short rows, unsigned short cols);
/* Reads both streams to their ends, and the status. */
struct outcome program_finish(struct program *program);
void outcome_release(struct outcome *outcome);

/* Runs to the end, with this on standard input (NULL: none). */
struct outcome program_run(const struct daemon *daemon, const char *arguments, const char *input);

/* Runs it and checks the status, and that both texts contain these (NULL: is empty; "": any). */
void expect_run(const struct daemon *daemon, const char *arguments, int status, const char *out,
                const char *err);

/* Runs it, checks the status, and returns its JSON output; owner: caller. */
json_t *run_json(const struct daemon *daemon, const char *arguments, int status);

/* Reads from a descriptor until the text has come; what was read lands in `text`. */
void await_output(int fd, const char *wanted, char *text, size_t size);

#endif
