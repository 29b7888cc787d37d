/* SPDX-License-Identifier: Apache-2.0 */
/* A file, directory or symbolic link as it travels from the guest, and the order in which a get's
 * frames come. The guest is hostile: what does not hold together is refused. */
#ifndef TINE_AGENT_ENTRY_H
#define TINE_AGENT_ENTRY_H

#include <limits.h>
#include <stdbool.h>

#include "agent/answer.h"

/* What an entry's fields take at most, both texts at their longest. */
#define AGENT_ENTRY_SIZE (2u * PATH_MAX + 256u)

struct agent_entry {
    char path[PATH_MAX];        /* relative; "" in the answer to a stat */
    char link_target[PATH_MAX]; /* of a symbolic link; else "" */
    uint32_t mode;              /* as st_mode */
    uint64_t size;              /* 0 but for regular files */
    int64_t mtime;              /* seconds since 1970 */
    uint32_t uid, gid;
};

void agent_entry_put(struct agent_fields *fields, const struct agent_entry *entry);
/* Reads an AGENT_ENTRY frame: a regular file, a directory or a symbolic link whose path is "." or
 * relative_path_valid(). -EPROTO otherwise. */
int agent_entry_parse(struct agent_entry *entry, const struct agent_frame *frame);

/* What a path in the guest is. */
struct agent_stat {
    int errnum; /* why nothing can be said; 0: `entry` holds it */
    char message[AGENT_MESSAGE_SIZE];
    struct agent_entry entry; /* of any type */
};
/* Reads the answer to AGENT_STAT. -EPROTO if it is malformed. */
int agent_stat_parse(struct agent_stat *info, const struct agent_frame *frame);

/* Follows a get. Zero it; then every frame goes through agent_tree_take(). */
struct agent_tree {
    struct agent_entry entry; /* the one the frames are about */
    uint64_t left;            /* of its content */
    bool begun, inside;       /* there was an entry; its END is still to come */
    bool root_directory;
    char root[NAME_MAX + 1]; /* the first entry's path: all others are below it */
    uint32_t skipped;        /* once it is over */
    struct agent_failure failure;
};
enum agent_tree_event {
    AGENT_TREE_ENTRY = 1, /* `entry` begins */
    AGENT_TREE_DATA,      /* the frame's payload is the next piece of its content */
    AGENT_TREE_END,       /* it is complete */
    AGENT_TREE_OVER,      /* and so is everything */
    AGENT_TREE_FAILED,    /* `failure` says why */
};
/* Returns the event, or -EPROTO: the agent broke the order, a size or a path. */
int agent_tree_take(struct agent_tree *tree, const struct agent_frame *frame);

#endif
