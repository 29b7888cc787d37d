/* SPDX-License-Identifier: Apache-2.0 */
/* tine cp: what both directions share. */
#ifndef TINE_CLI_CP_H
#define TINE_CLI_CP_H

#include <stdint.h>

#include "cli/cli.h"
#include "cli/progress.h"

struct cp {
    const struct cli *cli;
    const char *instance, *guest_path, *local_path;
    bool archive, follow;
    int signals; /* of those that end us: what is half made is removed first */
    struct progress progress;
    char label[160]; /* of the progress line */
    uint64_t shown_ns;
    uint64_t files, directories, links, skipped, bytes; /* copied */
};

/* Each copies everything; 0, or the exit status and the failure. */
int cp_in(struct cp *cp, struct failure *failure);
int cp_out(struct cp *cp, struct failure *failure);

/* Says that there are so many more bytes of a file, now and then. */
void cp_progress(struct cp *cp, const char *name, uint64_t bytes);

/* True if the path ends in "/.": the content of a directory rather than itself. */
bool cp_means_content(const char *path);

#endif
