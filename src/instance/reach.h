/* SPDX-License-Identifier: Apache-2.0 */
/* Inside the room: asking something of a Running guest's agent. */
#ifndef TINE_INSTANCE_REACH_H
#define TINE_INSTANCE_REACH_H

#include "instance/instance.h"
#include "instance/transition.h"

/* Asks, through the VMM's vsock socket: 0 or a descriptor, or a negative errno. Called again, with
 * more time, after -ETIMEDOUT. */
typedef int agent_asker(const struct instance_record *record, const char *vsock_path,
                        unsigned timeout_ms, const void *request, struct error *err);

/* Asks the agent of an instance that the operation is allowed on, for as long as its VMM lives. The
 * lock is held only until it has answered: a stream that it opens keeps nobody from a standby. */
int agent_reach(struct host *host, const char *reference, enum instance_operation operation,
                agent_asker *ask, const void *request, struct error *err);

#endif
