/* SPDX-License-Identifier: Apache-2.0 */
#ifndef TINE_INSTANCE_WAKE_H
#define TINE_INSTANCE_WAKE_H

#include "instance/host.h"

/* Tells the agent of a guest that wakes from a snapshot: the time, fresh entropy, and its new name
 * if `hostname` is not NULL (a fork that wakes for the first time). Ends early when the VMM does.
 * ERROR_TIMEOUT. */
int wake_agent(const struct operation *op, struct vm_process *process, const char *hostname,
               unsigned timeout_ms, struct error *err);

#endif
