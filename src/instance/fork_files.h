/* SPDX-License-Identifier: Apache-2.0 */
#ifndef TINE_INSTANCE_FORK_FILES_H
#define TINE_INSTANCE_FORK_FILES_H

#include "instance/directory.h"

/* Files on their way from one owner to another, each of which is an instance or a snapshot. */
struct handover {
    const struct owner *from, *to;
    const struct draft *draft; /* of `to` */
    /* Says what there is, and how the source's memory is compressed; learns what had to be copied,
     * and forgets a compression that is not that of the file which `to` gets. */
    struct instance_record *record;
    bool memory;               /* the snapshot/ too */
    bool base;                 /* the base/ too, if there is one: `from` runs (live.h) */
    const struct owner *disks; /* has the writable disks; NULL: `from` */
    bool stacks;               /* `to` can have stacks for disks (disks.h) */
    uint64_t size_bytes;       /* the result: of all files, holes included; of a disk that is a
                                  stack, of the disk */
};

/* Gives the draft its own names for everything `to` needs (R1): links for what nobody writes
 * (kernel, initrd, read-only disks, what is sealed of writable ones, and, with `memory`, the memory
 * image), a private copy of a writable disk where it is no stack, or `to` can't have one. `from` is
 * held at least for reading and has no VMM that runs, unless `disks` is somebody else. */
int fork_files(struct handover *handover, struct error *err);
/* Parts of that: links to what is in base/; copies of the writable disks alone; what `memory` adds.
 */
int fork_base(struct handover *handover, struct error *err);
int fork_writable_disks(struct handover *handover, struct error *err);
int fork_memory(struct handover *handover, struct error *err);

#endif
