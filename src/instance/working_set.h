/* SPDX-License-Identifier: Apache-2.0 */
/* Inside the room: what forks of an image needed first (first_touches.h), mapped before they do. */
#ifndef TINE_INSTANCE_WORKING_SET_H
#define TINE_INSTANCE_WORKING_SET_H

#include "instance/host.h"

/* In the loaded VM of `op`, whose image's record, if there is one, is in the directory `dir`.
 * Without it, or with one that can't be used, a fork is only slower: what fails is logged. */
void working_set_populate(const struct operation *op, int dir);

#endif
