/* SPDX-License-Identifier: Apache-2.0 */
#ifndef TINE_BASE_SPAWN_H
#define TINE_BASE_SPAWN_H

#include <spawn.h>

#include "base/error.h"

/* Makes `attributes` (to be destroyed by the caller) those of a program that has nothing of ours:
 * tined's threads block signals and ignore SIGPIPE, and the program gets neither. `flags`: further
 * POSIX_SPAWN_ ones. */
void spawn_attributes_init(posix_spawnattr_t *attributes, short flags);

/* PATH for programs that the program may run; TINE_FAILPOINT, if a test wants to reach it: what it
 * is told in TINE_CHILD_FAILPOINT, as ours are not its. Nothing else, since tined's environment may
 * hold tokens. */
struct spawn_environment {
    char *list[3]; /* as execve(2) wants it */
    char *failpoints;
};
int spawn_environment_init(struct spawn_environment *environment, struct error *err);
void spawn_environment_free(struct spawn_environment *environment);
/* For `_cleanup_(spawn_environment)`. */
static inline void cleanup_spawn_environment(struct spawn_environment *environment)
{
    spawn_environment_free(environment);
}

#endif
