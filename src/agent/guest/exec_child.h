/* SPDX-License-Identifier: Apache-2.0 */
/* Starting the command of an exec: own session and process group, pipes, a terminal
 * or the console. */
#ifndef TINE_AGENT_GUEST_EXEC_CHILD_H
#define TINE_AGENT_GUEST_EXEC_CHILD_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "agent/guest/exec_request.h"
#include "base/error.h"

struct exec_child {
    pid_t pid; /* leader of its process group */
    /* With the console all of them are -1. */
    int in;  /* what is written here is its standard input */
    int out; /* its standard output; with a terminal: all its output */
    int err; /* its standard error; -1 with a terminal */
};

/* Starts it; our ends do not block. Returns once the program runs, or with the reason why it does
 * not (path lookup, permission, working directory). `machine`: the command must give up our
 * protection from the out-of-memory killer. */
int exec_child_start(struct exec_child *child, const struct exec_request *request, bool machine,
                     struct error *err);

/* Resizes the terminal; its foreground group gets SIGWINCH. */
void exec_child_resize(const struct exec_child *child, uint16_t rows, uint16_t cols);

#endif
