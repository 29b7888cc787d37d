/* SPDX-License-Identifier: Apache-2.0 */
/* Inside the room: tine-pager as a process. At most one of a version runs (its own lock sees to
 * that), whoever started it: this tined, one before, or systemd. */
#ifndef TINE_PAGING_PROCESS_H
#define TINE_PAGING_PROCESS_H

#include <stdbool.h>
#include <sys/types.h>

#include "base/error.h"

struct pager_process {
    pid_t pid; /* 0: none is known */
    int pidfd;
    bool draining;
    unsigned state_oldest, state_newest; /* versions of sessions' states that it can take over */
};

/* <run_dir>/pager/<version>/control.sock; owner: caller, NULL: no memory. */
char *pager_socket_path(const char *run_dir, const char *version);
/* The pager that answers on `socket`: 1 and its pidfd, 0 if there is none. */
int pager_process_find(const char *socket, const char *version, struct pager_process *process,
                       struct error *err);
/* How it is started. */
struct pager_program {
    const char *binary, *run_dir;
    unsigned cache_mib; /* --decoded-cache; 0: not given */
};

/* Starts the program as a session of its own, which outlives tined, and returns when it answers.
 * Its output is appended to <run_dir>/pager/<version>/pager.log (begun anew above 4 MiB). If
 * another one of the version is there by now, that one is found. */
int pager_process_start(const struct pager_program *program, const char *version,
                        struct pager_process *process, struct error *err);
/* The program that it runs, opened: to start it again when its file is replaced. -1 if it can't be
 * had. */
int pager_process_program(const struct pager_process *process);
/* Reaped, if it was our child, when it has ended. */
bool pager_process_lives(const struct pager_process *process);
void pager_process_close(struct pager_process *process);

#endif
