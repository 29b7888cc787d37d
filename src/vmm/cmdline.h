/* SPDX-License-Identifier: Apache-2.0 */
/* The kernel's command line: what the user gave, or the default, and what the VMM appends. */
#ifndef TINE_VMM_CMDLINE_H
#define TINE_VMM_CMDLINE_H

#include "base/error.h"
#include "vmm/config.h"

/* Firecracker's default: lean for a guest without a console. */
#define CMDLINE_DEFAULT                                                                \
    "reboot=k panic=1 nomodule 8250.nr_uarts=0 i8042.noaux i8042.nomux i8042.dumbkbd " \
    "swiotlb=noforce"

/* Appends "pci=off" unless it is there, and root= with ro or rw for a root drive. ERROR_INVALID if
 * it does not fit VM_CMDLINE_MAX. Devices are found through ACPI and not named here. */
int cmdline_build(const struct vm_config *config, char cmdline[VM_CMDLINE_MAX], struct error *err);

#endif
