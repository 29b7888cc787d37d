/* SPDX-License-Identifier: Apache-2.0 */
#ifndef TINE_BASE_SPAWN_H
#define TINE_BASE_SPAWN_H

#include <spawn.h>

/* Makes `attributes` (to be destroyed by the caller) those of a program that has nothing of ours:
 * tined's threads block signals and ignore SIGPIPE, and the program gets neither. `flags`: further
 * POSIX_SPAWN_ ones. */
void spawn_attributes_init(posix_spawnattr_t *attributes, short flags);

#endif
