/* SPDX-License-Identifier: Apache-2.0 */
/* A standby that adds a layer: the image that the VM was restored from is not written, whoever else
 * has a name of it, or reads it; what changed since becomes the next file over it.
 *
 *   links of every file of base/ in the standby's temporary directory; [pause; the VMM writes what
 *   differs into a file of its own there]; that file becomes the next layer, and is removed;
 * [publish the directory as snapshot/]
 *
 * Such an image can be restored only through the pager. What fails leaves base/ as it was; but the
 * VMM has forgotten by then what had changed, so the next standby of that VM writes all memory. */
#ifndef TINE_INSTANCE_LAYERING_H
#define TINE_INSTANCE_LAYERING_H

#include "instance/host.h"

/* Decides by the host's `standby_memory`, by who else has the retained base, and by what VMM and
 * file system can do, and does it. `*layers`: `temporary`, a directory in the guest directory, has
 * links of all of the base. */
int layering_prepare(struct operation *op, const char *temporary, bool *layers, struct error *err);
/* The VMM has saved into `temporary`. Fills the id of the layer. */
int layering_finish(const struct operation *op, const char *temporary, uint64_t *id,
                    struct error *err);

#endif
