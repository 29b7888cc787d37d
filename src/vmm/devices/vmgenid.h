/* SPDX-License-Identifier: Apache-2.0 */
/* The VM generation id: 16 random bytes in reserved guest memory, changed before the first
 * instruction after every restore, then announced by an interrupt so that Linux reseeds its random
 * numbers. */
#ifndef TINE_VMM_DEVICES_VMGENID_H
#define TINE_VMM_DEVICES_VMGENID_H

#include <stdint.h>

#include "vmm/memory.h"
#include "vmm/state.h"

struct vmgenid {
    uint64_t gpa;
    int irq_fd; /* borrowed eventfd */
};

/* Writes a fresh id; `announce` raises the interrupt (after a restore, not at boot). */
int vmgenid_renew(const struct vmgenid *vmgenid, const struct guest_memory *memory, int announce,
                  struct error *err);
void vmgenid_save(const struct vmgenid *vmgenid, struct state_writer *writer);
int vmgenid_load(struct vmgenid *vmgenid, const struct state_reader *reader, struct error *err);

#endif
