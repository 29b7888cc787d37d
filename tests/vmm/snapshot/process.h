/* SPDX-License-Identifier: Apache-2.0 */
/* tine-vmm as a process of its own. */
#ifndef TINE_TESTS_PROCESS_H
#define TINE_TESTS_PROCESS_H

#include <stdbool.h>
#include <sys/types.h>

#include "../../pager/fixture.h"

#define PATIENCE_MS 60000

struct process {
    struct place api; /* for pager_call(): pager and VMM both speak HTTP on a socket */
    pid_t pid;        /* 0: none */
    char log[160];    /* what it warns of */
    int request;      /* the connection of a request that is not answered yet; -1: none */
};

/* Starts the program that TINE_VMM names, with its API socket in `directory`, and waits until it
 * listens. It ends with this process. */
void process_begin(struct process *process, const char *directory);
/* Waits for its end; the status as of waitpid(). */
int process_wait(struct process *process);
/* SIGKILL, and waits for the end. */
void process_kill(struct process *process);
/* Whether the request is answered, or was within so many milliseconds. */
bool process_answered(const struct process *process, int timeout_ms);

#endif
