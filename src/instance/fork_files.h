/* SPDX-License-Identifier: Apache-2.0 */
#ifndef TINE_INSTANCE_FORK_FILES_H
#define TINE_INSTANCE_FORK_FILES_H

#include "instance/directory.h"

/* Gives the draft its own names for everything the fork needs (R1): links for what nobody writes
 * (kernel, initrd, read-only disks and, with `memory`, the snapshot), private copies of writable
 * disks. Records in the fork's row what had to be copied. The source is held at least for reading
 * and has no VMM that runs. */
int fork_files(const struct operation *source, struct operation *op, bool memory,
               struct draft *draft, struct error *err);

#endif
