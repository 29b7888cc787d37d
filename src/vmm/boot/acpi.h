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

/* The VM generation id has the last page of the reserved low memory for itself; the tables stay
 * below it, in [BOOT_SYSTEM_START, ACPI_VMGENID_GPA). */
#define ACPI_VMGENID_GPA 0xdf000ull

struct acpi_mmio_device {
    uint64_t gpa; /* 4 KiB */
    uint32_t gsi;
};

struct acpi_layout {
    unsigned vcpu_count;
    const struct acpi_mmio_device *virtio; /* LNRO0005 */
    unsigned virtio_count;
    uint64_t vmgenid_gpa; /* ACPI_VMGENID_GPA; 16 bytes */
    uint32_t vmgenid_gsi; /* raised through the generic event device */
};

/* Writes the tables and, at BOOT_RSDP, the root pointer. ERROR_INVALID for a layout that can't be
 * described. */
int acpi_build(const struct guest_memory *memory, const struct acpi_layout *layout,
               struct error *err);

#endif
