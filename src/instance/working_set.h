/* SPDX-License-Identifier: Apache-2.0 */
/* Inside the room: what forks of an image needed first, mapped before others do: for a template
 * what a pager recorded (first_touches.h), for a VM that waits what a fork before it was found to
 * have needed. Without it a fork is only slower: what fails then is logged. */
#ifndef TINE_INSTANCE_WORKING_SET_H
#define TINE_INSTANCE_WORKING_SET_H

#include "instance/host.h"

/* More pages of its own no VM gets before it runs: a fork that wrote more did its work already, and
 * the next one may have none to do. 8 MiB. */
#define WORKING_SET_OWN_MAX 2048u

/* In the loaded VM of `op`, whose image's record, if there is one, is in the directory `dir`. */
void working_set_populate(const struct operation *op, int dir);
/* In the VM of `op`, which waits: pages that are only read are mapped, those that are written are
 * its own, and KVM has both. */
void working_set_map(const struct operation *op, const struct vm_touched *needed);

/* What the instance, a fork that runs, has needed up to now; owner: caller (vm_touched_free()).
 * -EBUSY, without a message: it does not run yet. ERROR_STATE: it does not run any more. */
int working_set_learn(struct host *host, const char *id, struct vm_touched *needed,
                      struct error *err);

#endif
