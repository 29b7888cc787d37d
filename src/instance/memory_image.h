/* SPDX-License-Identifier: Apache-2.0 */
/* The memory image of what sleeps: snapshot/memory, or the compressed one in its place. Where a
 * pager is going to serve that (paged.h) it stays as it is. Else whoever needs it gets it raw, as
 * one file that replaces the compressed one, so that all forks link to one inode and share one page
 * cache. */
#ifndef TINE_INSTANCE_MEMORY_IMAGE_H
#define TINE_INSTANCE_MEMORY_IMAGE_H

#include "instance/snapshot_operation.h"
#include "stack/compression.h"

/* Opens snapshot/ of the owner with this id in `parent`. */
int memory_directory(int parent, const char *id, struct error *err);

/* For the one who makes the VM of an instance that he holds for writing: no job works on its image
 * any more, and it is raw, unless it goes through the pager as it is. */
int memory_take(struct operation *op, struct error *err);
/* And now it is raw. */
int memory_expand(struct operation *op, struct error *err);
/* 1 if the image that the instance sleeps with is compressed, and as what; else 0. */
int memory_is_packed(const struct operation *op, struct stack_packed *packed, struct error *err);

/* As operation_begin(), of somebody who is going to link the image for a fork or a snapshot: if the
 * instance sleeps, it is raw, or such as pagers serve it, and stays so while it is held. To expand
 * it the lock is taken for writing meanwhile; who comes second finds it done. */
int memory_begin(struct host *host, const char *reference, enum lock_kind kind,
                 struct operation *op, struct error *err);
/* The same for a snapshot, as snapshot_begin() for reading. `for_fork`: it is for a fork's first
 * restore; else it is raw in any case. */
int memory_begin_snapshot(struct host *host, const char *id, bool for_fork,
                          struct snapshot_operation *op, struct error *err);

/* Puts right what a crash has left in snapshot/; the owner is held for writing. */
int memory_settle(const struct owner *owner, struct error *err);

/* Fills the record's compression_status. What can't be found out is an error in it. */
void memory_look(struct host *host, struct instance_record *record);
void memory_look_snapshot(struct host *host, struct snapshot_record *record);

#endif
