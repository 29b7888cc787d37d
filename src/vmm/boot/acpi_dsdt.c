/* SPDX-License-Identifier: Apache-2.0 */
#include "vmm/boot/acpi_dsdt.h"

#include <stdio.h>

#include "vmm/devices/i8042.h"
#include "vmm/devices/serial.h"

#define VIRTIO_MMIO_LENGTH   0x1000u
#define SERIAL_PORTS         8u
#define RESOURCES_MAX        64u
#define VMGENID_CHANGED      0x80u
#define GENERIC_EVENT_DEVICE "ACPI0013"

/* Name and _HID "LNRO0005" are what Linux's virtio_mmio driver binds to. */
static void dsdt_virtio(struct aml *aml, unsigned index, const struct acpi_mmio_device *device)
{
    uint8_t buffer[RESOURCES_MAX];
    struct aml resources;
    char name[16];
    snprintf(name, sizeof(name), "V%03u", index);
    aml_init(&resources, buffer, sizeof(buffer));
    aml_memory32(&resources, (uint32_t)device->gpa, VIRTIO_MMIO_LENGTH);
    aml_interrupt(&resources, device->gsi);

    size_t mark = aml_open_device(aml, name);
    aml_name(aml, "_HID");
    aml_string(aml, "LNRO0005");
    aml_name(aml, "_UID");
    aml_integer(aml, index);
    aml_name(aml, "_CCA"); /* DMA is cache coherent */
    aml_integer(aml, 1);
    aml_crs(aml, &resources);
    aml_close(aml, mark);
}

static void dsdt_serial(struct aml *aml)
{
    uint8_t buffer[RESOURCES_MAX];
    struct aml resources;
    aml_init(&resources, buffer, sizeof(buffer));
    aml_io(&resources, SERIAL_PORT, SERIAL_PORTS);
    aml_interrupt(&resources, SERIAL_GSI);

    size_t mark = aml_open_device(aml, "COM1");
    aml_name(aml, "_HID");
    aml_eisa_id(aml, "PNP0501");
    aml_name(aml, "_UID");
    aml_integer(aml, 0);
    aml_name(aml, "_DDN");
    aml_string(aml, "COM1");
    aml_crs(aml, &resources);
    aml_close(aml, mark);
}

/* Data port and command port; there is no mouse, so no PNP0F13. */
static void dsdt_keyboard(struct aml *aml)
{
    uint8_t buffer[RESOURCES_MAX];
    struct aml resources;
    aml_init(&resources, buffer, sizeof(buffer));
    aml_io(&resources, I8042_PORT, 1);
    aml_io(&resources, I8042_PORT + 4, 1);
    aml_interrupt(&resources, I8042_GSI);

    size_t mark = aml_open_device(aml, "PS2_");
    aml_name(aml, "_HID");
    aml_eisa_id(aml, "PNP0303");
    aml_crs(aml, &resources);
    aml_close(aml, mark);
}

/* Microsoft's "Virtual Machine Generation ID" specification: any _HID, _CID "VM_Gen_Counter", and
 * ADDR with the low and high half of the address. Linux matches a _HID of at most eight characters
 * from its first version on, hence "VMGENCTR". */
static void dsdt_vmgenid(struct aml *aml, const struct acpi_layout *layout)
{
    size_t mark = aml_open_device(aml, "VGEN");
    aml_name(aml, "_HID");
    aml_string(aml, "VMGENCTR");
    aml_name(aml, "_CID");
    aml_string(aml, "VM_Gen_Counter");
    aml_name(aml, "_DDN");
    aml_string(aml, "VM_Gen_Counter");
    aml_name(aml, "ADDR");
    size_t package = aml_open_package(aml, 2);
    aml_integer(aml, layout->vmgenid_gpa & UINT32_MAX);
    aml_integer(aml, layout->vmgenid_gpa >> 32);
    aml_close(aml, package);
    aml_close(aml, mark);
}

/* The generic event device takes interrupts the place of the SCI in hardware-reduced ACPI (ACPI
 * 6.4, section 5.6.9): _EVT gets the GSI and notifies whom it concerns. */
static void dsdt_events(struct aml *aml, const struct acpi_layout *layout)
{
    uint8_t buffer[RESOURCES_MAX];
    struct aml resources;
    aml_init(&resources, buffer, sizeof(buffer));
    aml_interrupt(&resources, layout->vmgenid_gsi);

    size_t device = aml_open_device(aml, "GED_");
    aml_name(aml, "_HID");
    aml_string(aml, GENERIC_EVENT_DEVICE);
    aml_crs(aml, &resources);
    size_t method = aml_open_method(aml, "_EVT", 1);
    size_t condition = aml_open_if_equal(aml);
    aml_argument(aml, 0);
    aml_integer(aml, layout->vmgenid_gsi);
    aml_notify(aml, "\\_SB_.VGEN", VMGENID_CHANGED);
    aml_close(aml, condition);
    aml_close(aml, method);
    aml_close(aml, device);
}

/* Soft-off: SLP_TYP is the first element; hardware-reduced ACPI ignores the others. */
static void dsdt_soft_off(struct aml *aml)
{
    aml_name(aml, "\\_S5_");
    size_t package = aml_open_package(aml, 4);
    for (unsigned i = 0; i < 4; i++)
        aml_integer(aml, i < 2 ? ACPI_S5_TYPE : 0);
    aml_close(aml, package);
}

void acpi_dsdt_body(struct aml *aml, const struct acpi_layout *layout)
{
    size_t scope = aml_open_scope(aml, "\\_SB_");
    for (unsigned i = 0; i < layout->virtio_count; i++)
        dsdt_virtio(aml, i, &layout->virtio[i]);
    dsdt_serial(aml);
    dsdt_keyboard(aml);
    dsdt_vmgenid(aml, layout);
    dsdt_events(aml, layout);
    aml_close(aml, scope);
    dsdt_soft_off(aml);
}
