/* SPDX-License-Identifier: Apache-2.0 */
#include "vmm/boot/acpi.h"

#include <errno.h>
#include <string.h>

#include "base/cleanup.h"
#include "vmm/boot/acpi_dsdt.h"
#include "vmm/boot/boot.h"
#include "vmm/config.h"

#define LOCAL_APIC_GPA 0xfee00000u
#define IOAPIC_GPA     0xfec00000u
#define TABLE_MAX      8192u
#define TABLE_ALIGN    16u

#define OEM_ID       "TINE  "
#define OEM_TABLE_ID "TINEVMM "
#define CREATOR_ID   "TINE"

/* FADT flags (ACPI 6.4, table 5.10). */
#define FADT_WBINVD        (1u << 0)
#define FADT_PROC_C1       (1u << 2)
#define FADT_NO_PWR_BUTTON (1u << 4)
#define FADT_NO_SLP_BUTTON (1u << 5)
#define FADT_RESET_REG_SUP (1u << 10)
#define FADT_HW_REDUCED    (1u << 20)

/* FADT IA-PC boot architecture flags (ACPI 6.4, table 5.11). */
#define BOOT_ARCH_8042        (1u << 1)
#define BOOT_ARCH_NO_VGA      (1u << 2)
#define BOOT_ARCH_NO_MSI      (1u << 3)
#define BOOT_ARCH_NO_ASPM     (1u << 4)
#define BOOT_ARCH_NO_CMOS_RTC (1u << 5)

#define GAS_SYSTEM_IO   1u
#define GAS_BYTE_ACCESS 1u

#define MADT_LOCAL_APIC   0u
#define MADT_IO_APIC      1u
#define MADT_APIC_ENABLED 1u

struct acpi_header {
    char signature[4];
    uint32_t length;
    uint8_t revision, checksum;
    char oem_id[6];
    char oem_table_id[8];
    uint32_t oem_revision;
    char creator_id[4];
    uint32_t creator_revision;
} __attribute__((packed));

/* Generic address structure. */
struct acpi_gas {
    uint8_t space, bit_width, bit_offset, access_size;
    uint64_t address;
} __attribute__((packed));

struct acpi_rsdp {
    char signature[8];
    uint8_t checksum; /* of the first 20 bytes */
    char oem_id[6];
    uint8_t revision;
    uint32_t rsdt_gpa;
    uint32_t length;
    uint64_t xsdt_gpa;
    uint8_t extended_checksum; /* of all */
    uint8_t reserved[3];
} __attribute__((packed));

/* Revision 6; fields that hardware-reduced ACPI ignores are grouped. */
struct acpi_fadt {
    struct acpi_header header;
    uint32_t firmware_ctrl, dsdt;
    uint8_t reserved, preferred_pm_profile;
    uint16_t sci_int;
    uint32_t smi_cmd;
    uint8_t acpi_enable, acpi_disable, s4bios_req, pstate_cnt;
    uint8_t pm_blocks[32];
    uint8_t pm_lengths[8];
    uint16_t p_lvl2_lat, p_lvl3_lat, flush_size, flush_stride;
    uint8_t duty_offset, duty_width, day_alarm, month_alarm, century;
    uint16_t boot_arch;
    uint8_t reserved2;
    uint32_t flags;
    struct acpi_gas reset_register;
    uint8_t reset_value;
    uint16_t arm_boot_arch;
    uint8_t minor_version;
    uint64_t x_firmware_ctrl, x_dsdt;
    struct acpi_gas x_pm_blocks[8];
    struct acpi_gas sleep_control, sleep_status;
    char hypervisor_vendor[8];
} __attribute__((packed));

struct acpi_madt {
    struct acpi_header header;
    uint32_t local_apic_gpa;
    uint32_t flags; /* bit 0, PCAT_COMPAT: no, the 8259s are not for use here */
} __attribute__((packed));

struct acpi_madt_local_apic {
    uint8_t type, length;
    uint8_t processor_uid, apic_id;
    uint32_t flags;
} __attribute__((packed));

struct acpi_madt_io_apic {
    uint8_t type, length;
    uint8_t id, reserved;
    uint32_t gpa;
    uint32_t gsi_base;
} __attribute__((packed));

_Static_assert(sizeof(struct acpi_header) == 36, "ACPI 6.4, table 5.4");
_Static_assert(sizeof(struct acpi_rsdp) == 36, "ACPI 6.4, table 5.3");
_Static_assert(sizeof(struct acpi_fadt) == 276, "ACPI 6.4, table 5.9");
_Static_assert(ACPI_VMGENID_GPA >= BOOT_SYSTEM_START && ACPI_VMGENID_GPA < BOOT_SYSTEM_END,
               "reserved low memory");

/* Where tables go: from BOOT_SYSTEM_START up, below the generation id. */
struct acpi_writer {
    const struct guest_memory *memory;
    uint64_t next;
};

/* The byte that makes all bytes sum to zero, their checksum field being zero. */
static uint8_t acpi_checksum(const void *data, size_t length)
{
    const uint8_t *bytes = data;
    unsigned sum = 0;
    for (size_t i = 0; i < length; i++)
        sum += bytes[i];
    return (uint8_t)(0u - sum);
}

static struct acpi_header acpi_header_make(const char *signature, uint8_t revision)
{
    struct acpi_header header = {.revision = revision, .oem_revision = 1, .creator_revision = 1};
    memcpy(header.signature, signature, sizeof(header.signature));
    memcpy(header.oem_id, OEM_ID, sizeof(header.oem_id));
    memcpy(header.oem_table_id, OEM_TABLE_ID, sizeof(header.oem_table_id));
    memcpy(header.creator_id, CREATOR_ID, sizeof(header.creator_id));
    return header;
}

/* Completes length and checksum of a table of `length` bytes, puts it into guest memory and says
 * where. */
static int acpi_place(struct acpi_writer *writer, struct acpi_header *table, size_t length,
                      uint64_t *gpa, struct error *err)
{
    table->length = (uint32_t)length;
    table->checksum = 0;
    table->checksum = acpi_checksum(table, length);
    *gpa = writer->next;
    if (length > ACPI_VMGENID_GPA - writer->next)
        return error_set(err, ERROR_INVALID, ENOSPC, "no room for the ACPI table %.4s",
                         table->signature);
    if (guest_write(writer->memory, *gpa, table, length) < 0)
        return error_set(err, ERROR_INVALID, EFAULT, "no guest memory for the ACPI table %.4s",
                         table->signature);
    writer->next = (*gpa + length + TABLE_ALIGN - 1) & ~(uint64_t)(TABLE_ALIGN - 1);
    return 0;
}

/* ---- the tables ---- */

static int acpi_place_dsdt(struct acpi_writer *writer, const struct acpi_layout *layout,
                           uint64_t *gpa, struct error *err)
{
    _Alignas(8) uint8_t table[TABLE_MAX];
    /* Revision 2: integers have 64 bits. */
    struct acpi_header header = acpi_header_make("DSDT", 2);
    struct aml aml;
    aml_init(&aml, table, sizeof(table));
    aml_bytes(&aml, &header, sizeof(header));
    acpi_dsdt_body(&aml, layout);
    if (aml.failed)
        return error_set(err, ERROR_INVALID, ENOSPC, "the ACPI description does not fit %u bytes",
                         TABLE_MAX);
    return acpi_place(writer, (struct acpi_header *)(void *)table, aml.length, gpa, err);
}

static struct acpi_gas acpi_port(uint16_t port)
{
    return (struct acpi_gas){
        .space = GAS_SYSTEM_IO, .bit_width = 8, .access_size = GAS_BYTE_ACCESS, .address = port};
}

static int acpi_place_fadt(struct acpi_writer *writer, uint64_t dsdt, uint64_t *gpa,
                           struct error *err)
{
    struct acpi_fadt fadt = {
        .header = acpi_header_make("FACP", 6),
        .minor_version = 4,
        .boot_arch = BOOT_ARCH_8042 | BOOT_ARCH_NO_VGA | BOOT_ARCH_NO_MSI | BOOT_ARCH_NO_ASPM |
                     BOOT_ARCH_NO_CMOS_RTC,
        .flags = FADT_WBINVD | FADT_PROC_C1 | FADT_NO_PWR_BUTTON | FADT_NO_SLP_BUTTON |
                 FADT_RESET_REG_SUP | FADT_HW_REDUCED,
        .reset_register = acpi_port(ACPI_RESET_PORT),
        .reset_value = ACPI_RESET_VALUE,
        .x_dsdt = dsdt,
        .sleep_control = acpi_port(ACPI_SLEEP_PORT),
        .sleep_status = acpi_port(ACPI_SLEEP_PORT + 1),
        .hypervisor_vendor = "TINE",
    };
    return acpi_place(writer, &fadt.header, sizeof(fadt), gpa, err);
}

/* All lines are edge-triggered and active-high with GSI = pin, which is what an ISA line without an
 * interrupt source override is anyway; the DSDT says so for the others. */
static int acpi_place_madt(struct acpi_writer *writer, unsigned vcpu_count, uint64_t *gpa,
                           struct error *err)
{
    struct {
        struct acpi_madt head;
        struct acpi_madt_io_apic io_apic;
        struct acpi_madt_local_apic local_apics[VM_MAX_VCPUS];
    } __attribute__((packed)) madt = {
        .head = {.header = acpi_header_make("APIC", 5), .local_apic_gpa = LOCAL_APIC_GPA},
        .io_apic = {.type = MADT_IO_APIC, .length = sizeof(madt.io_apic), .gpa = IOAPIC_GPA},
    };
    for (unsigned i = 0; i < vcpu_count; i++)
        madt.local_apics[i] =
            (struct acpi_madt_local_apic){.type = MADT_LOCAL_APIC,
                                          .length = sizeof(struct acpi_madt_local_apic),
                                          .processor_uid = (uint8_t)i,
                                          .apic_id = (uint8_t)i,
                                          .flags = MADT_APIC_ENABLED};
    size_t unused = (VM_MAX_VCPUS - vcpu_count) * sizeof(madt.local_apics[0]);
    return acpi_place(writer, &madt.head.header, sizeof(madt) - unused, gpa, err);
}

static int acpi_place_xsdt(struct acpi_writer *writer, uint64_t fadt, uint64_t madt, uint64_t *gpa,
                           struct error *err)
{
    struct {
        struct acpi_header header;
        uint64_t tables[2];
    } __attribute__((packed)) xsdt = {
        .header = acpi_header_make("XSDT", 1),
        .tables = {fadt, madt},
    };
    return acpi_place(writer, &xsdt.header, sizeof(xsdt), gpa, err);
}

static int acpi_write_rsdp(const struct guest_memory *memory, uint64_t xsdt, struct error *err)
{
    struct acpi_rsdp rsdp = {.revision = 2, .length = sizeof(rsdp), .xsdt_gpa = xsdt};
    memcpy(rsdp.signature, "RSD PTR ", sizeof(rsdp.signature));
    memcpy(rsdp.oem_id, OEM_ID, sizeof(rsdp.oem_id));
    rsdp.checksum = acpi_checksum(&rsdp, 20);
    rsdp.extended_checksum = acpi_checksum(&rsdp, sizeof(rsdp));
    if (guest_write(memory, BOOT_RSDP, &rsdp, sizeof(rsdp)) < 0)
        return error_set(err, ERROR_INVALID, EFAULT, "no guest memory for the ACPI root pointer");
    return 0;
}

static int acpi_check_layout(const struct acpi_layout *layout, struct error *err)
{
    if (layout->vcpu_count == 0 || layout->vcpu_count > VM_MAX_VCPUS)
        return error_set(err, ERROR_INVALID, EINVAL, "%u vCPUs, expected 1 to %u",
                         layout->vcpu_count, VM_MAX_VCPUS);
    if (layout->vmgenid_gpa % 8 != 0 || layout->vmgenid_gpa < ACPI_VMGENID_GPA ||
        layout->vmgenid_gpa > BOOT_SYSTEM_END - 16)
        return error_set(err, ERROR_INVALID, EINVAL, "VM generation id at 0x%llx: not its place",
                         (unsigned long long)layout->vmgenid_gpa);
    for (unsigned i = 0; i < layout->virtio_count; i++) {
        if (layout->virtio[i].gpa >= GUEST_MMIO_GAP_END)
            return error_set(err, ERROR_INVALID, EINVAL, "virtio device %u lies above 4 GiB", i);
    }
    return 0;
}

int acpi_build(const struct guest_memory *memory, const struct acpi_layout *layout,
               struct error *err)
{
    struct acpi_writer writer = {.memory = memory, .next = BOOT_SYSTEM_START};
    uint64_t dsdt = 0, fadt = 0, madt = 0, xsdt = 0;
    int status = acpi_check_layout(layout, err);
    if (status == 0)
        status = acpi_place_dsdt(&writer, layout, &dsdt, err);
    if (status == 0)
        status = acpi_place_fadt(&writer, dsdt, &fadt, err);
    if (status == 0)
        status = acpi_place_madt(&writer, layout->vcpu_count, &madt, err);
    if (status == 0)
        status = acpi_place_xsdt(&writer, fadt, madt, &xsdt, err);
    if (status == 0)
        status = acpi_write_rsdp(memory, xsdt, err);
    return status;
}
