/* SPDX-License-Identifier: Apache-2.0 */
/* The retained base on its way to become the next image: a standby that merges writes only what
 * changed, into the file that the VM was restored from.
 *
 *   unshare base/memory; move it into the standby's temporary directory, durably; [pause; the VMM
 *   writes into it; publish that directory as snapshot/]
 *
 * While the file is half written it is in a directory whose name marks it as half-made: nobody
 * takes it for an image, not even after a power cut, and whoever sweeps removes it. A VM whose base
 * was swept runs on, it has the file open, and its next standby writes all memory.
 *
 * The link count is taken under the instance's lock for writing (R5): the only name of a private
 * base is ours, so no link can appear between the look and the write. */
#ifndef TINE_INSTANCE_MERGE_H
#define TINE_INSTANCE_MERGE_H

#include "instance/host.h"

/* Decides by the driver's `saving` and the link count, and does it. `*merges`: `temporary`, a
 * directory in the guest directory, has the base now, with one name; also after some failures. */
int merge_prepare(struct operation *op, const char *temporary, bool *merges, struct error *err);
/* Puts the base back, however much of the merge was done: it is good for another (hypervisor.h). */
int merge_undo(struct operation *op, const char *temporary, struct error *err);

#endif
