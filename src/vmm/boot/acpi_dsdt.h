/* SPDX-License-Identifier: Apache-2.0 */
/* Inside the room: the AML of the DSDT, which names every device of the machine. */
#ifndef TINE_VMM_BOOT_ACPI_DSDT_H
#define TINE_VMM_BOOT_ACPI_DSDT_H

#include "vmm/boot/acpi.h"
#include "vmm/boot/aml.h"

/* Appends the definition block's body (what follows the table header) to `aml`. */
void acpi_dsdt_body(struct aml *aml, const struct acpi_layout *layout);

#endif
