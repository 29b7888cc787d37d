/* SPDX-License-Identifier: Apache-2.0 */
/* Waiting for a booting guest's agent to say "ready" (agent/protocol.h), without polling. */
#ifndef TINE_INSTANCE_READY_H
#define TINE_INSTANCE_READY_H

#include "instance/host.h"

struct ready {
    int fd;
    char *path;
};
/* clang-format off */ /* its versions differ on braces in macros */
#define READY_NONE {.fd = -1}
/* clang-format on */

/* Listens where the VMM connects when the guest does; before the VMM starts, so that no report is
 * missed. */
int ready_listen(const struct operation *op, struct ready *ready, struct error *err);
/* Returns 0 when the agent has reported; ERROR_TIMEOUT; or, at once, an error when the VMM ends.
 * What connects and breaks the format is ignored: the guest can only keep itself from being ready.
 */
int ready_wait(const struct operation *op, struct ready *ready, const struct vm_process *process,
               unsigned timeout_ms, struct error *err);
/* Closes and removes the socket. */
void cleanup_ready(struct ready *ready);

#endif
