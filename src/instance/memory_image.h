/* SPDX-License-Identifier: Apache-2.0 */
/* The memory image of what sleeps: snapshot/memory, or the compressed one in its place. Whoever
 * needs it gets it raw, as one file that replaces the compressed one, so that all forks link to one
 * inode and share one page cache. */
#ifndef TINE_INSTANCE_MEMORY_IMAGE_H
#define TINE_INSTANCE_MEMORY_IMAGE_H

#include "instance/snapshot_operation.h"

/* Opens snapshot/ of the owner with this id in `parent`. */
int memory_directory(int parent, const char *id, struct error *err);

/* For the one who makes the VM of an instance that he holds for writing: no job works on its image
 * any more, and it is raw. */
int memory_take(struct operation *op, struct error *err);

/* As operation_begin(), of somebody who is going to link the image: if the instance sleeps, it is
 * raw, and stays so while it is held. To expand it the lock is taken for writing meanwhile; who
 * comes second finds it done. */
int memory_begin(struct host *host, const char *reference, enum lock_kind kind,
                 struct operation *op, struct error *err);
/* The same for a snapshot, as snapshot_begin() for reading. */
int memory_begin_snapshot(struct host *host, const char *id, struct snapshot_operation *op,
                          struct error *err);

/* Puts right what a crash has left in snapshot/; the owner is held for writing. */
int memory_settle(const struct owner *owner, struct error *err);

/* Fills the record's compression_status. What can't be found out is an error in it. */
void memory_look(struct host *host, struct instance_record *record);
void memory_look_snapshot(struct host *host, struct snapshot_record *record);

#endif
