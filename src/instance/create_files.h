/* SPDX-License-Identifier: Apache-2.0 */
#ifndef TINE_INSTANCE_CREATE_FILES_H
#define TINE_INSTANCE_CREATE_FILES_H

#include "instance/create_request.h"
#include "instance/directory.h"

/* Gives the draft its own kernel, initrd and disks (R1). The kit's files are immutable and linked;
 * a user's file may be changed by its user, so it is copied (reflink or sparse), a read-only disk
 * too: its forks then link it among themselves. */
int create_files(struct operation *op, const struct create_plan *plan, struct draft *draft,
                 struct error *err);

#endif
