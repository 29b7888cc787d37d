/* SPDX-License-Identifier: Apache-2.0 */
/* The image of an instance that sleeps, with fewer files: some of its layers become one, or all of
 * it one raw file.
 *
 *   [without a lock] what is new is written into snapshot.tine-tmp-*, beside snapshot/;
 *   [held for writing] what stays is linked there; both directories change places, in one rename;
 *   the row; the old directory goes.
 *
 * The files that were there are not touched: forks and snapshots, and a pager that reads them, keep
 * theirs. A tined that dies between the rename and the row finds in snapshot/ a file `compacted`
 * that names the image of before, which the row says, and the one that is there (R3). */
#ifndef TINE_INSTANCE_COMPACTION_H
#define TINE_INSTANCE_COMPACTION_H

#include "instance/host.h"
#include "stack/layer_stack.h"

/* From so many layers on those that nobody else has become one. */
#define COMPACTION_DEPTH 4u

struct compaction {
    char id[INSTANCE_ID_LENGTH + 1]; /* of the instance */
    struct layer_task task;
    /* While it works: */
    int guest_fd;
    char *temporary;                    /* a name in the guest directory; NULL: none is made */
    unsigned layers;                    /* of the image as it was found, */
    char top[INSTANCE_MEMORY_TOP_SIZE]; /* and its topmost */
    unsigned first;                     /* layers from here on become one; 0: all is one file */
    uint64_t new_top;
    uint64_t begin_ns;
};

void compaction_init(const struct host *host, struct compaction *compaction, const char *id);
/* The long part, without a lock. -EALREADY: there is nothing to be gained. -ENOENT, -ESTALE: there
 * is no such instance, or it does not sleep. -ECANCELED. */
int compaction_make(struct host *host, struct compaction *compaction, struct error *err);
/* What was made takes its place. -EBUSY, without a message: somebody holds the instance. */
int compaction_publish(struct host *host, struct compaction *compaction, struct error *err);
/* Lets go of everything, and counts and tells how it ended. */
void compaction_end(struct host *host, struct compaction *compaction, int r,
                    const struct error *err);

/* The instance sleeps and is held for writing, and its VMM can neither map its image nor be served
 * it by a pager: then it is made one file, now. */
int compaction_require(struct operation *op, struct error *err);
/* The row says Standby: puts right what a crash has left between image and row. */
int compaction_settle(struct operation *op, struct error *err);

#endif
