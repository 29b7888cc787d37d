/* SPDX-License-Identifier: Apache-2.0 */
/* Inside src/hypervisor: VMM processes by pidfd. */
#ifndef TINE_HYPERVISOR_PROCESS_H
#define TINE_HYPERVISOR_PROCESS_H

#include "hypervisor/hypervisor.h"

/* Fills `process` for a child that was just started and not waited for. */
int process_adopt_child(pid_t pid, struct vm_process *process, struct error *err);

/* Waits like vm_process_wait() and says how the process ended ("exited with status 1", "was killed
 * by signal 9 (KILL)"), or just "ended" when it was not our child. */
int process_wait_text(const struct vm_process *process, unsigned timeout_ms, char text[64],
                      struct error *err);

#endif
