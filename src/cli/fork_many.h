/* SPDX-License-Identifier: Apache-2.0 */
/* Many forks of one source, an instance or a snapshot, all requested at the same time. */
#ifndef TINE_CLI_FORK_MANY_H
#define TINE_CLI_FORK_MANY_H

#include <stdbool.h>

#include "cli/cli.h"

/* As given on the command line. */
struct fork_options {
    const char *name, *prefix, *target;
    const char *hypervisor; /* of snapshots of kind Stopped only */
    unsigned count;
    bool from_running;
};

struct fork_source {
    const char *subject; /* as the user named it */
    const char *path;    /* what is POSTed to */
    const char *base;    /* names are made of it when none are given; NULL only if they are */
};

/* CLI_OK, or CLI_USAGE after one line on standard error. */
int fork_check(const struct cli *cli, const struct fork_options *options);
/* Makes them, prints a line as each gets ready and a summary. Returns the exit status. */
int fork_many(const struct cli *cli, const struct fork_options *options,
              const struct fork_source *source);

/* The API's spelling of a state, whatever the case; NULL if it is none that a fork can have. */
const char *target_spelling(const char *text);

#endif
