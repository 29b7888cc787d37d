/* SPDX-License-Identifier: Apache-2.0 */
/* The retained base on its way to become the next image: a standby that merges writes only what
 * changed, into the file that the VM was restored from.
 *
 *   move base/memory into the standby's temporary directory, durably, or if it has other owners a
 *   copy of it; [pause; the VMM writes into that; publish the directory as snapshot/]
 *
 * Of a base that was copied the name stays as long as the VM may go on with it: a VM's memory is a
 * mapping of that very file, which the last of its other owners would else write into. While the
 * file is half written it is in a directory whose name marks it as half-made: nobody takes it for
 * an image, not even after a power cut, and whoever sweeps removes it. A VM whose base was swept
 * runs on, it has the file open, and its next standby writes all memory.
 *
 * The link count is taken under the instance's lock for writing (R5): the only name of a private
 * base is ours, so no link can appear between the look and the write. */
#ifndef TINE_INSTANCE_MERGE_H
#define TINE_INSTANCE_MERGE_H

#include "instance/host.h"

/* Decides by the driver's `saving` and the link count, and does it. `*merges`: `temporary`, a
 * directory in the guest directory, has the base now, or its copy, with one name; also after some
 * failures. */
int merge_prepare(struct operation *op, const char *temporary, bool *merges, struct error *err);
/* Puts the base back, if it was moved, however much of the merge was done: it is good for another
 * (hypervisor.h). */
int merge_undo(struct operation *op, const char *temporary, struct error *err);

#endif
