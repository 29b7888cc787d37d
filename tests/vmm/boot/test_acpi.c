/* SPDX-License-Identifier: Apache-2.0 */
/* Reads the tables back the way a kernel does: root pointer, XSDT, each table by signature. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "vmm/boot/acpi.h"
#include "vmm/boot/boot.h"

#define DEVICES 16u

struct setup {
    struct guest_memory memory;
    struct acpi_mmio_device devices[DEVICES];
    struct acpi_layout layout;
    struct error err;
};

static void setup_init(struct setup *setup, unsigned vcpus, unsigned devices)
{
    *setup = (struct setup){
        .layout = {.vcpu_count = vcpus,
                   .virtio = setup->devices,
                   .virtio_count = devices,
                   .vmgenid_gpa = ACPI_VMGENID_GPA,
                   .vmgenid_gsi = 22},
    };
    for (unsigned i = 0; i < DEVICES; i++)
        setup->devices[i] =
            (struct acpi_mmio_device){.gpa = 0xc0001000 + i * 0x1000ull, .gsi = 5 + i};
    assert_int_equal(guest_memory_create(&setup->memory, 16u << 20, &setup->err), 0);
}

static uint64_t number(const uint8_t *at, unsigned bytes)
{
    uint64_t value = 0;
    memcpy(&value, at, bytes);
    return value;
}

static unsigned sum(const uint8_t *bytes, size_t count)
{
    unsigned total = 0;
    for (size_t i = 0; i < count; i++)
        total += bytes[i];
    return total & 0xff;
}

/* A table at `gpa`: inside its area, whole, with a right checksum. */
static const uint8_t *table_at(const struct setup *setup, uint64_t gpa, const char *signature)
{
    const uint8_t *table = guest_pointer(&setup->memory, gpa, 36);
    assert_non_null(table);
    uint64_t length = number(table + 4, 4);
    assert_memory_equal(table, signature, 4);
    assert_true(gpa >= BOOT_SYSTEM_START && gpa % 16 == 0);
    assert_true(length >= 36 && gpa + length <= ACPI_VMGENID_GPA);
    assert_int_equal(sum(table, length), 0);
    assert_memory_equal(table + 10, "TINE  TINEVMM ", 14);
    return table;
}

static const uint8_t *xsdt_of(const struct setup *setup)
{
    const uint8_t *rsdp = guest_pointer(&setup->memory, BOOT_RSDP, 36);
    assert_memory_equal(rsdp, "RSD PTR ", 8);
    assert_int_equal(sum(rsdp, 20), 0);
    assert_int_equal(sum(rsdp, 36), 0);
    assert_int_equal(rsdp[15], 2);
    assert_int_equal(number(rsdp + 16, 4), 0);
    assert_int_equal(number(rsdp + 20, 4), 36);
    return table_at(setup, number(rsdp + 24, 8), "XSDT");
}

static const uint8_t *table_find(const struct setup *setup, const char *signature)
{
    const uint8_t *xsdt = xsdt_of(setup);
    unsigned count = (unsigned)(number(xsdt + 4, 4) - 36) / 8;
    assert_int_equal(count, 2);
    for (unsigned i = 0; i < count; i++) {
        uint64_t gpa = number(xsdt + 36 + 8ull * i, 8);
        if (memcmp(guest_pointer(&setup->memory, gpa, 4), signature, 4) == 0)
            return table_at(setup, gpa, signature);
    }
    fail_msg("no table %s", signature);
    return NULL;
}

/* A generic address: one byte wide, in I/O space. */
static void assert_port(const uint8_t *address, uint64_t port)
{
    const uint8_t form[] = {1, 8, 0, 1};
    assert_memory_equal(address, form, sizeof(form));
    assert_int_equal(number(address + 4, 8), port);
}

static void fadt_describes_reduced_hardware(void **state)
{
    (void)state;
    struct setup setup;
    setup_init(&setup, 1, 3);
    assert_int_equal(acpi_build(&setup.memory, &setup.layout, &setup.err), 0);
    const uint8_t *fadt = table_find(&setup, "FACP");
    assert_int_equal(number(fadt + 4, 4), 276);
    assert_int_equal(fadt[8], 6);
    assert_int_equal(fadt[131], 4);
    uint64_t flags = number(fadt + 112, 4);
    assert_true(flags & 1u << 20); /* HW_REDUCED_ACPI */
    assert_true(flags & 1u << 10); /* RESET_REG_SUP */
    assert_true(flags & 1u << 4);  /* no fixed power button */
    assert_true(flags & 1u << 5);  /* no fixed sleep button */
    uint64_t boot_arch = number(fadt + 109, 2);
    assert_true(boot_arch & 1u << 1); /* 8042 */
    assert_true(boot_arch & 1u << 2); /* no VGA */
    assert_true(boot_arch & 1u << 5); /* no CMOS RTC */
    assert_port(fadt + 116, ACPI_RESET_PORT);
    assert_int_equal(fadt[128], ACPI_RESET_VALUE);
    assert_port(fadt + 244, ACPI_SLEEP_PORT);
    assert_port(fadt + 256, ACPI_SLEEP_PORT + 1);
    assert_int_equal(number(fadt + 36, 4), 0); /* no FACS */
    assert_int_equal(number(fadt + 40, 4), 0); /* DSDT only as X_DSDT */
    assert_int_equal(number(fadt + 132, 8), 0);
    table_at(&setup, number(fadt + 140, 8), "DSDT");
    guest_memory_release(&setup.memory);
}

static void assert_madt(unsigned vcpus)
{
    struct setup setup;
    setup_init(&setup, vcpus, 1);
    assert_int_equal(acpi_build(&setup.memory, &setup.layout, &setup.err), 0);
    const uint8_t *madt = table_find(&setup, "APIC");
    uint64_t length = number(madt + 4, 4), at = 44;
    unsigned local = 0, io = 0;
    assert_int_equal(number(madt + 36, 4), 0xfee00000);
    assert_int_equal(number(madt + 40, 4), 0);
    for (; at + 2 <= length; at += madt[at + 1]) {
        const uint8_t *entry = madt + at;
        if (entry[0] == 0) {
            assert_int_equal(entry[1], 8);
            assert_int_equal(entry[2], local);
            assert_int_equal(entry[3], local);
            assert_int_equal(number(entry + 4, 4), 1);
            local++;
        } else {
            assert_int_equal(entry[0], 1);
            assert_int_equal(entry[1], 12);
            assert_int_equal(number(entry + 4, 4), 0xfec00000);
            assert_int_equal(number(entry + 8, 4), 0);
            io++;
        }
    }
    assert_int_equal(at, length);
    assert_int_equal(local, vcpus);
    assert_int_equal(io, 1);
    guest_memory_release(&setup.memory);
}

static void madt_lists_every_vcpu(void **state)
{
    (void)state;
    assert_madt(1);
    assert_madt(2);
    assert_madt(32);
}

static const uint8_t *dsdt_of(const struct setup *setup, size_t *length)
{
    const uint8_t *fadt = table_find(setup, "FACP");
    const uint8_t *dsdt = table_at(setup, number(fadt + 140, 8), "DSDT");
    *length = number(dsdt + 4, 4);
    return dsdt;
}

/* PkgLength at `at`: its value; `bytes` receives how many bytes encode it. */
static size_t package_length(const uint8_t *at, unsigned *bytes)
{
    unsigned more = at[0] >> 6;
    *bytes = 1 + more;
    if (more == 0)
        return at[0];
    size_t value = at[0] & 0xf;
    for (unsigned i = 1; i <= more; i++)
        value |= (size_t)at[i] << (8 * i - 4);
    return value;
}

/* The device `name` (four characters); `length` receives its extent from the name on. */
static const uint8_t *device_find(const uint8_t *dsdt, size_t size, const char *name,
                                  size_t *length)
{
    const uint8_t opcode[] = {0x5b, 0x82};
    for (size_t i = 36; i + 8 < size; i++) {
        unsigned bytes = 0;
        if (memcmp(dsdt + i, opcode, 2) != 0)
            continue;
        size_t package = package_length(dsdt + i + 2, &bytes);
        assert_true(i + 2 + package <= size);
        if (memcmp(dsdt + i + 2 + bytes, name, 4) == 0) {
            *length = package - bytes;
            return dsdt + i + 2 + bytes;
        }
    }
    return NULL;
}

static void assert_contains(const uint8_t *data, size_t size, const void *wanted, size_t count)
{
    assert_non_null(memmem(data, size, wanted, count));
}

static void dsdt_names_every_virtio_device(void **state)
{
    (void)state;
    struct setup setup;
    size_t size = 0, length = 0;
    setup_init(&setup, 2, DEVICES);
    assert_int_equal(acpi_build(&setup.memory, &setup.layout, &setup.err), 0);
    const uint8_t *dsdt = dsdt_of(&setup, &size);
    for (unsigned i = 0; i < DEVICES; i++) {
        const char name[] = {'V', '0', (char)('0' + i / 10), (char)('0' + i % 10), '\0'};
        const uint8_t *device = device_find(dsdt, size, name, &length);
        assert_non_null(device);
        const uint8_t memory[] = {
            0x86, 9, 0,    1, 0, (uint8_t)(0x10 * (i + 1)), (uint8_t)((i + 1) >> 4),
            0xc0, 0, 0x10, 0, 0};
        const uint8_t interrupt[] = {0x89, 6, 0, 3, 1, (uint8_t)(5 + i), 0, 0, 0, 0x79, 0};
        assert_contains(device, length, "_HID\x0dLNRO0005", 14);
        assert_contains(device, length, "_UID", 4);
        assert_contains(device, length, "_CCA\x01", 5);
        assert_contains(device, length, memory, sizeof(memory));
        assert_contains(device, length, interrupt, sizeof(interrupt));
    }
    assert_null(device_find(dsdt, size, "V016", &length));
    guest_memory_release(&setup.memory);
}

static void dsdt_names_legacy_devices(void **state)
{
    (void)state;
    const uint8_t com1[] = {'_', 'H', 'I', 'D', 0x0c, 0x41, 0xd0, 0x05, 0x01};
    const uint8_t com1_io[] = {0x47, 1, 0xf8, 3, 0xf8, 3, 1, 8, 0x89, 6, 0, 3, 1, 4, 0, 0, 0, 0x79};
    const uint8_t ps2[] = {'_', 'H', 'I', 'D', 0x0c, 0x41, 0xd0, 0x03, 0x03};
    const uint8_t ps2_io[] = {0x47, 1, 0x60, 0,    0x60, 0, 1, 1, 0x47, 1, 0x64, 0, 0x64,
                              0,    1, 1,    0x89, 6,    0, 3, 1, 1,    0, 0,    0, 0x79};
    struct setup setup;
    size_t size = 0, length = 0;
    setup_init(&setup, 1, 0);
    assert_int_equal(acpi_build(&setup.memory, &setup.layout, &setup.err), 0);
    const uint8_t *dsdt = dsdt_of(&setup, &size);
    const uint8_t *device = device_find(dsdt, size, "COM1", &length);
    assert_non_null(device);
    assert_contains(device, length, com1, sizeof(com1));
    assert_contains(device, length, com1_io, sizeof(com1_io));
    device = device_find(dsdt, size, "PS2_", &length);
    assert_non_null(device);
    assert_contains(device, length, ps2, sizeof(ps2));
    assert_contains(device, length, ps2_io, sizeof(ps2_io));
    guest_memory_release(&setup.memory);
}

static void dsdt_announces_generation_changes(void **state)
{
    (void)state;
    const uint8_t address[] = {'A', 'D', 'D', 'R', 0x12, 8, 2, 0x0c, 0x00, 0xf0, 0x0d, 0x00, 0x00};
    const uint8_t interrupt[] = {0x89, 6, 0, 3, 1, 22, 0, 0, 0, 0x79};
    /* If (LEqual (Arg0, 22)) { Notify (\_SB.VGEN, 0x80) } */
    const uint8_t event[] = {'_',  'E',  'V', 'T', 0x09, 0xa0, 0x12, 0x93, 0x68, 0x0a, 22,   0x86,
                             '\\', 0x2e, '_', 'S', 'B',  '_',  'V',  'G',  'E',  'N',  0x0a, 0x80};
    const uint8_t off[] = {0x08, '\\', '_', 'S', '5', '_', 0x12, 8, 4, 0x0a, 5, 0x0a, 5, 0, 0};
    struct setup setup;
    size_t size = 0, length = 0;
    setup_init(&setup, 1, 0);
    assert_int_equal(acpi_build(&setup.memory, &setup.layout, &setup.err), 0);
    const uint8_t *dsdt = dsdt_of(&setup, &size);
    const uint8_t *device = device_find(dsdt, size, "VGEN", &length);
    assert_non_null(device);
    assert_contains(device, length, "_HID\x0dVMGENCTR", 14);
    assert_contains(device, length, "_CID\x0dVM_Gen_Counter", 20);
    assert_contains(device, length, address, sizeof(address));
    device = device_find(dsdt, size, "GED_", &length);
    assert_non_null(device);
    assert_contains(device, length,
                    "_HID\x0d"
                    "ACPI0013",
                    14);
    assert_contains(device, length, interrupt, sizeof(interrupt));
    assert_contains(device, length, event, sizeof(event));
    assert_contains(dsdt, size, off, sizeof(off));
    guest_memory_release(&setup.memory);
}

static void assert_layout_refused(struct setup *setup, const char *cause)
{
    assert_int_equal(acpi_build(&setup->memory, &setup->layout, &setup->err), -EINVAL);
    assert_non_null(strstr(setup->err.message, cause));
    guest_memory_release(&setup->memory);
}

static void refuses_what_it_cannot_describe(void **state)
{
    (void)state;
    struct setup setup;
    setup_init(&setup, 0, 0);
    assert_layout_refused(&setup, "0 vCPUs");
    setup_init(&setup, 33, 0);
    assert_layout_refused(&setup, "33 vCPUs");
    setup_init(&setup, 1, 0);
    setup.layout.vmgenid_gpa = BOOT_SYSTEM_START;
    assert_layout_refused(&setup, "not its place");
    setup_init(&setup, 1, 0);
    setup.layout.vmgenid_gpa = ACPI_VMGENID_GPA + 4;
    assert_layout_refused(&setup, "not its place");
    setup_init(&setup, 1, 0);
    setup.layout.vmgenid_gpa = BOOT_SYSTEM_END - 8;
    assert_layout_refused(&setup, "not its place");
    setup_init(&setup, 1, 1);
    setup.devices[0].gpa = 1ull << 32;
    assert_layout_refused(&setup, "above 4 GiB");
}

/* More devices than the buffer for the DSDT holds: an error, not an overrun. */
static void refuses_too_many_devices(void **state)
{
    (void)state;
    static struct acpi_mmio_device many[200];
    struct setup setup;
    setup_init(&setup, 1, 0);
    setup.layout.virtio = many;
    setup.layout.virtio_count = 200;
    assert_int_equal(acpi_build(&setup.memory, &setup.layout, &setup.err), -ENOSPC);
    guest_memory_release(&setup.memory);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(fadt_describes_reduced_hardware),
        cmocka_unit_test(madt_lists_every_vcpu),
        cmocka_unit_test(dsdt_names_every_virtio_device),
        cmocka_unit_test(dsdt_names_legacy_devices),
        cmocka_unit_test(dsdt_announces_generation_changes),
        cmocka_unit_test(refuses_what_it_cannot_describe),
        cmocka_unit_test(refuses_too_many_devices),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
