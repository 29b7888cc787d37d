/* SPDX-License-Identifier: Apache-2.0 */
/* The agent's first process: takes connections, starts a process for each, reaps what is orphaned,
 * keeps the oracle's keeper alive. It does nothing that can block, for PID 1 must never hang or
 * end. */
#ifndef TINE_AGENT_GUEST_SERVER_H
#define TINE_AGENT_GUEST_SERVER_H

#include <stdbool.h>

struct server_options {
    bool machine;            /* PID 1 of a guest: vsock, ready report, power */
    const char *unix_path;   /* else: where to listen */
    bool keeper;             /* run the memory oracle's keeper ... */
    const char *oracle_path; /* ... on this socket; NULL: its abstract name */
};

/* In a guest it never returns. Else it returns an exit status: 0 after SIGTERM. */
int server_run(const struct server_options *options);

#endif
