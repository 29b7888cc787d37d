/* SPDX-License-Identifier: Apache-2.0 */
/* Inside src/stack: the top of a stack becomes a layer, in this order:
 *
 *   flush it; make the next top, empty, under a temporary name, synced; mark the old one as sealed,
 *   synced; give it its number as a second name; rename the next top over it; sync the directory.
 *
 * So there is a top at every moment. One that is marked as sealed is never written: whoever opens
 * it for that, after a crash in between, goes on from there. */
#ifndef TINE_STACK_DISK_SEAL_H
#define TINE_STACK_DISK_SEAL_H

#include "stack/disk_private.h"

/* The top is marked already. After a failure it still is. */
int disk_seal_finish(struct disk_stack *stack, struct error *err);

#endif
