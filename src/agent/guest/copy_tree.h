/* SPDX-License-Identifier: Apache-2.0 */
/* Walks a tree, parents first, names in the order of their bytes, and says what it meets. Nothing
 * is followed out of it: every name is opened in its directory's descriptor. */
#ifndef TINE_AGENT_GUEST_COPY_TREE_H
#define TINE_AGENT_GUEST_COPY_TREE_H

#include <limits.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/stat.h>

#include "base/error.h"

#define COPY_TREE_DEPTH 128u /* a descriptor each */

struct copy_tree {
    bool follow; /* symbolic links count as what they lead to */
    /* Called for each regular file, directory and link; `name` in `dirfd` is opened without
     * following unless `follow`. `path` begins with the root's name. */
    int (*visit)(struct copy_tree *tree, int dirfd, const char *name, const struct stat *st,
                 struct error *err);
    char path[PATH_MAX];
    const char *root;
    uint32_t skipped; /* sockets, pipes and devices */
    unsigned depth;
    struct {
        dev_t device;
        ino_t inode;
    } above[COPY_TREE_DEPTH]; /* the directories that the walk is in */
};

/* `root` is the path to open, `name` what `path` begins with ("." for nothing). */
int copy_tree_walk(struct copy_tree *tree, const char *root, const char *name, struct error *err);

/* What the walk is at, for messages: the root as it was asked for, or a path from its name on. */
const char *copy_tree_name(const struct copy_tree *tree);

#endif
