/* SPDX-License-Identifier: Apache-2.0 */
/* The writable disks of an owner. Where its VMM can use stacks (stack/disk_stack.h) they are
 * stacks: a fork links what is sealed. An instance's disk of before, one raw file, becomes the base
 * of one when it is first forked. */
#ifndef TINE_INSTANCE_DISKS_H
#define TINE_INSTANCE_DISKS_H

#include "instance/host.h"
#include "instance/owner.h"

/* If the VMM that the row names uses stacks. */
bool disks_are_stacks(const struct host *host, const struct instance_record *record);

/* 1 if something of the instance, which has no VMM, must be sealed before it can be forked. */
int disks_need_freeze(const struct operation *op, struct error *err);
/* Seals it. The instance is held for writing. A stack that has become deep is compacted first; that
 * this fails is an error only where there is no room for another layer. */
int disks_freeze(const struct operation *op, struct error *err);
/* Before the VMM of an instance that runs, and is held for writing, seals them: 1 if it has any
 * that are stacks. Those that have become deep are compacted; that this fails is an error only
 * where there is no room for another layer. */
int disks_prepare_seal(const struct operation *op, struct error *err);
/* Where a stack is deep, makes few files of many. The instance is held for writing. What fails is
 * logged: it is for the next time. */
void disks_compact(const struct operation *op);
/* All that was written to them is durable; read-only ones are not written. */
int disks_sync(const struct operation *op, struct error *err);

/* Gives `to` a disk of its own by the same name in another directory: links of a stack that is
 * frozen and of what a snapshot holds, where `stacks` says that `to` can use them; else one raw
 * file. Both are named in messages by their labels. */
struct disk_gift {
    const struct stack_file *from, *to;
    bool stacks;
    bool immutable; /* `from` is never written, so it can be linked as it is */
};
int disk_give(const struct disk_gift *gift, struct stack_result *result, struct error *err);

#endif
