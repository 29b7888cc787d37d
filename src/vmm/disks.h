/* SPDX-License-Identifier: Apache-2.0 */
/* The disks of a VM as a whole: those that are stacks. */
#ifndef TINE_VMM_DISKS_H
#define TINE_VMM_DISKS_H

#include "base/error.h"
#include "vmm/config.h"

struct machine;

/* A saved VM may have been saved when one of its disks was still a plain file, which has been
 * forked since and is now the base of a stack: it is used as one. */
int disks_find_stacks(struct vm_config *config, struct error *err);
/* What the guest wrote to its stacks is durable, flushed by it or not: a saved VM remembers it. */
int disks_flush(const struct machine *machine, struct error *err);
/* The same, and it becomes a layer of each that forks can link. Paused. What was sealed before one
 * fails stays so: the VM goes on with it. */
int disks_seal(const struct machine *machine, struct error *err);

/* The guest has ended by itself, and the process is about to. Never waits for a lock: whoever has
 * it may wait for a page that nobody gives. */
void disks_flush_at_end(const struct machine *machine);

#endif
