/* SPDX-License-Identifier: Apache-2.0 */
#ifndef TINE_INSTANCE_KIT_H
#define TINE_INSTANCE_KIT_H

#include "instance/host.h"
#include "stack/stack.h"

/* Gives `to`, a name below guests/, a link to a file of the guest kit. A kit that lies on another
 * file system can't be linked to: each of its files is then copied once into <data_dir>/kit/, for
 * all instances to link to, and again when the kit has another one of that name (size or
 * modification time differ). Instances made before keep what they have. */
int kit_share(const struct host *host, const struct stack_file *from, const struct stack_file *to,
              struct error *err);

#endif
