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
    bool memory;         /* the snapshot/ too */
    uint64_t size_bytes; /* the result: of all files, holes included */
};

/* Gives the draft its own names for everything `to` needs (R1): links for what nobody writes
 * (kernel, initrd, read-only disks and, with `memory`, the memory image), private copies of
 * writable disks. `from` is held at least for reading and has no VMM that runs. */
int fork_files(struct handover *handover, struct error *err);

#endif
