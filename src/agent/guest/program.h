/* SPDX-License-Identifier: Apache-2.0 */
/* The main program of a guest: the first PROGRAM request of a boot starts it, and the process of
 * that session stays as its parent. How it goes is in memory that all sessions share. */
#ifndef TINE_AGENT_GUEST_PROGRAM_H
#define TINE_AGENT_GUEST_PROGRAM_H

#include <stdbool.h>

#include "agent/protocol.h"

struct program;

/* Before the first session. Never freed; NULL and an errno if it can't be. */
struct program *program_new(void);

/* Serves PROGRAM. Where it has started the program, it returns after that program's end. */
void program_serve_start(struct program *program, int fd, const struct agent_frame *request,
                         bool machine);
/* Serves WATCH: after the program's end, and once the host has taken that, powers off. */
void program_serve_watch(struct program *program, int fd, const struct agent_frame *request,
                         bool machine);

#endif
