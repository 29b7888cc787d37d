/* SPDX-License-Identifier: Apache-2.0 */
/* Inside src/hypervisor: what a VMM said before it died. */
#ifndef TINE_HYPERVISOR_VMM_LOG_H
#define TINE_HYPERVISOR_VMM_LOG_H

#include <stddef.h>
#include <stdint.h>

/* Fills `text` with the last lines (at most three) that the VMM's log received behind `start`,
 * joined by " | ", without control characters; empty if it said nothing or the log can't be read.
 */
void vmm_log_tail(const char *guest_dir, uint64_t start, char *text, size_t size);

#endif
