/* SPDX-License-Identifier: Apache-2.0 */
/* The directory of one version, <run-dir>/pager/<version>, with the control socket in it; other
 * versions have theirs beside it. */
#ifndef TINE_PAGER_RUN_DIRECTORY_H
#define TINE_PAGER_RUN_DIRECTORY_H

#include "base/error.h"

struct run_directory {
    char *path, *socket;
    int lock_fd;
};

/* Makes it where it is missing and locks it; a socket that a dead process left is removed.
 * ERROR_STATE if this version runs there already. */
int run_directory_open(struct run_directory *directory, const char *run_dir, const char *version,
                       struct error *err);
/* Removes the socket and unlocks. */
void run_directory_close(struct run_directory *directory);

#endif
