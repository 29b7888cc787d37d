/* SPDX-License-Identifier: Apache-2.0 */
/* Inside the room: a template of what sleeps, and VMs made of it that wait for a fork to be.
 *
 * A template is made as for a live fork (live.h), but of a VM that never runs: a loader, which maps
 * the image, and ends once the template is there. Each of the three has a directory under a
 * temporary name in guests/, made of links like a fork's: what is left of them after a crash is
 * swept, and for as long as they live their image has other names than its owner's (R2). The
 * template's has all that a fork needs, is never written, and holds the memory image as base/; so
 * neither it nor a VM of it needs the source any more. */
#ifndef TINE_INSTANCE_HOT_H
#define TINE_INSTANCE_HOT_H

#include "instance/image_mark.h"
#include "instance/live.h"

/* What forks are made of. */
struct warm_source {
    char id[INSTANCE_ID_LENGTH + 1];
    bool snapshot; /* else an instance */
};

struct hot {
    struct host *host;
    char id[INSTANCE_ID_LENGTH + 1]; /* names its directory */
    struct live live;
    struct instance_record record; /* its VMs have this memory and these disks */
};

/* Makes one of a source that sleeps, which is held for reading while it is linked; `mark` says
 * which image it is of. ERROR_STATE: it does not sleep. ERROR_UNSUPPORTED: not with its VMM. NULL
 * and the error. */
struct hot *hot_make(struct host *host, const struct warm_source *source, struct image_mark *mark,
                     struct error *err);
/* Its VMs live on. NULL is nothing. */
void hot_end(struct hot *hot);

/* A VM of a template, Paused before its first instruction, in a directory of its own under a
 * temporary name. */
struct parked {
    struct parked *next; /* its keeper's */
    struct draft draft;
    struct vm_process process;
    uint64_t private_bytes;        /* when it was last looked at */
    bool mapped;                   /* what it will need, as far as that was known */
    struct instance_record record; /* the id that it has been given, and what its files say */
};

/* `needed`: what it has mapped then; NULL: not known. */
struct parked *hot_park(struct hot *hot, const struct vm_touched *needed, struct error *err);
/* Ends what is still its own: its VM, its directory. NULL is nothing. */
void parked_end(struct parked *parked);

/* It becomes the instance that `op` has begun with its id, whose row is there: it gets its
 * directory, published, and its VM, and says so in the record, which is not written. What could not
 * be handed over stays its own. */
int parked_become(struct parked *parked, struct operation *op, struct error *err);

#endif
