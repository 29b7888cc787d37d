/* SPDX-License-Identifier: Apache-2.0 */
/* What is true of an instance, found from its guest directory and its VMM alone, whatever was under
 * way when tined, the VMM or the host died. The rows of the database follow.
 *
 * The operations keep three promises that make it possible:
 *
 *  1. snapshot/ is there if and only if the guest has not executed one instruction since it was
 *     written. So: snapshot/ without a VMM, or with a VMM that is paused, is Standby.
 *     - standby publishes snapshot/ while the VM is paused, and then only kills it;
 *     - restore loads the VM paused, renames snapshot/ to base/ durably, and only then resumes it.
 *  2. base/state is there only from that rename until the guest has acknowledged that it woke. So:
 *     base/state with a paused VM was never resumed; base/state without a VM can go back to being a
 *     snapshot if the guest has no disk it could have changed, and must not otherwise.
 *  3. base/memory is what a running VM was restored from, a copy of it, or either with pages of a
 *     standby that failed (merge.h). Nothing but the next standby ever depends on it, and
 *     base/state is never beside it when it has such pages.
 *
 *   VMM       directory              state
 *   none      snapshot/              Standby
 *   none      base/state, no         Standby (base/ becomes snapshot/ again)
 *             writable disk
 *   none      else                   Stopped
 *   paused    snapshot/              Standby (the VMM is killed)
 *   paused    else                   resumed; then as running
 *   running   base/state             Initializing until the agent has answered, then Running
 *   running   else                   as the row says, Initializing or Running
 *   not       any                    as none (the VMM is killed)
 *   started
 *   silent    any                    Unknown
 */
#ifndef TINE_INSTANCE_SETTLE_H
#define TINE_INSTANCE_SETTLE_H

#include "instance/host.h"

/* Makes directory and row agree with the truth. `why` is the exit_message if a VM turns out to have
 * ended. The lock is held for writing and op->guest_fd is open. */
int settle(struct operation *op, const char *why, struct error *err);
/* The same when no VMM is left. */
int settle_without_vmm(struct operation *op, const char *why, struct error *err);
/* Writes the state Unknown, with the reason. */
int settle_unknown(struct operation *op, const char *why, struct error *err);

#endif
