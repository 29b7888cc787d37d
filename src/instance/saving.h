/* SPDX-License-Identifier: Apache-2.0 */
/* Inside the room: a paused VM's memory image in the making, in a directory under a temporary name
 * in its guest directory: all memory, what changed merged into the retained base (merge.h), or a
 * layer over it (layering.h). */
#ifndef TINE_INSTANCE_SAVING_H
#define TINE_INSTANCE_SAVING_H

#include "instance/host.h"

struct saving {
    char *temporary; /* the directory's name; owned */
    enum vm_save how;
    uint64_t top; /* the id of the new layer */
};

/* Chooses the name alone: nothing is there yet. */
int saving_name(const struct operation *op, struct saving *saving, struct error *err);
/* Makes the directory and decides how; what takes its time here costs a VM that runs no pause. */
int saving_prepare(struct operation *op, struct saving *saving, struct error *err);
/* The VM, paused, is saved there. */
int saving_write(struct operation *op, struct saving *saving, struct error *err);
/* The image is in use from now on: the record says what it is, the metrics that there was one. */
int saving_record(const struct saving *saving, struct instance_record *record, struct error *err);
void saving_count(const struct operation *op, const struct saving *saving);
/* It is of no use: the directory goes, and a base that was moved into it back to its place. */
int saving_undo(struct operation *op, const struct saving *saving, struct error *err);
void cleanup_saving(struct saving *saving);

#endif
