/* SPDX-License-Identifier: Apache-2.0 */
/* A standby that adds a layer: the image that the VM was restored from is not written, whoever else
 * has a name of it, or reads it; what changed since becomes the next file over it.
 *
 *   links of every file of base/ in the standby's temporary directory; [pause; the VMM writes what
 *   differs there, as a layer or as a diff]; that becomes the next layer; [publish the directory as
 *   snapshot/]
 *
 * Such an image can be restored by a VMM that knows layers, or through the pager. Over a compressed
 * base there is no layer: neither a VMM nor compaction could read the stack. What fails leaves
 * base/ as it was; but a VMM with a log has forgotten by then what had changed, so the next standby
 * of that VM writes all memory. */
#ifndef TINE_INSTANCE_LAYERING_H
#define TINE_INSTANCE_LAYERING_H

#include "instance/host.h"

/* Decides by the host's `standby_memory`, by who else has the retained base, and by what VMM and
 * file system can do, and does it. 1: `temporary`, a directory in the guest directory, has links of
 * all of the base, and the VM is to be saved there as `*how` says; 0: no layer. */
int layering_prepare(struct operation *op, const char *temporary, enum vm_save *how,
                     struct error *err);
/* The VMM has saved so into `temporary`. Fills the id of the layer. */
int layering_finish(const struct operation *op, const char *temporary, enum vm_save how,
                    uint64_t *id, struct error *err);

#endif
