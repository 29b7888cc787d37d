/* SPDX-License-Identifier: Apache-2.0 */
/* Inside the room: the main program's start and its end. */
#ifndef TINE_INSTANCE_PROGRAM_RUN_H
#define TINE_INSTANCE_PROGRAM_RUN_H

#include "instance/host.h"

/* The agent is reached and starts it, if it has not yet. `outcome`: code -1 while it runs, or if
 * there is none. `timeout_ms` is for an agent that is slow; a VMM that ends is noticed. */
int program_start(const struct operation *op, struct vm_process *process, unsigned timeout_ms,
                  struct agent_exit *outcome, struct error *err);
/* Its end, in the record: exit code, and a message in words. */
void program_over(struct instance_record *record, const struct agent_exit *outcome);
/* A new run begins: of the end of an earlier one nothing stays. */
void program_forget_end(struct instance_record *record);

#endif
