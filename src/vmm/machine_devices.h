/* SPDX-License-Identifier: Apache-2.0 */
#ifndef TINE_VMM_MACHINE_DEVICES_H
#define TINE_VMM_MACHINE_DEVICES_H

#include "vmm/machine.h"

/* Creates the devices, puts them on the buses and wires their eventfds to KVM. Device lock held.
 * After a failure machine_remove_devices() cleans up. */
int machine_add_devices(struct machine *machine, const struct vm_config *config, struct error *err);
/* Device lock held. */
void machine_remove_devices(struct machine *machine);

/* The first interrupt line behind those of the virtio devices. */
uint32_t machine_vmgenid_gsi(const struct machine *machine);

#endif
