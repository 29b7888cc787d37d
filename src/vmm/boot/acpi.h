/* SPDX-License-Identifier: Apache-2.0 */
/* ACPI tables in guest memory: RSDP, XSDT, FADT (hardware-reduced, with sleep and reset registers),
 * MADT, DSDT. ACPI 6.4; AML encodings from its chapter 20. */
#ifndef TINE_VMM_BOOT_ACPI_H
#define TINE_VMM_BOOT_ACPI_H

#include <stdint.h>

#include "base/error.h"
#include "vmm/memory.h"

#define ACPI_SLEEP_PORT  0x600u /* sleep control register; status is the next port */
#define ACPI_RESET_PORT  0x64u  /* the i8042 command port */
#define ACPI_RESET_VALUE 0xfeu
#define ACPI_S5_TYPE     5u /* SLP_TYP of soft-off, in bits 2..4 of the sleep control register */

struct acpi_mmio_device {
    uint64_t gpa; /* 4 KiB */
    uint32_t gsi;
};

struct acpi_layout {
    unsigned vcpu_count;
    const struct acpi_mmio_device *virtio; /* LNRO0005 */
    unsigned virtio_count;
    uint64_t vmgenid_gpa; /* 16 bytes, 8-byte aligned, in reserved low memory */
    uint32_t vmgenid_gsi; /* raised through the generic event device */
};

int acpi_build(const struct guest_memory *memory, const struct acpi_layout *layout,
               struct error *err);

#endif
