/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>

#include "ports.h"
#include "vmm/boot/acpi.h"
#include "vmm/devices/vmgenid.h"

struct setup {
    struct ports ports;
    struct guest_memory memory;
    struct vmgenid vmgenid;
};

static void setup_init(struct setup *setup)
{
    ports_init(&setup->ports);
    assert_int_equal(guest_memory_create(&setup->memory, 2u << 20, NULL), 0);
    setup->vmgenid = (struct vmgenid){.gpa = ACPI_VMGENID_GPA, .irq_fd = setup->ports.irq_fd};
}

static void teardown(struct setup *setup)
{
    guest_memory_release(&setup->memory);
    ports_release(&setup->ports);
}

static void renew_changes_the_bytes(void **state)
{
    (void)state;
    struct setup setup;
    uint8_t first[16], second[16], around[48], zeros[16] = {0};
    setup_init(&setup);
    assert_int_equal(vmgenid_renew(&setup.vmgenid, &setup.memory, 0, NULL), 0);
    assert_int_equal(guest_read(&setup.memory, ACPI_VMGENID_GPA, first, 16), 0);
    assert_memory_not_equal(first, zeros, 16);
    assert_int_equal(interrupts(&setup.ports), 0);
    assert_int_equal(vmgenid_renew(&setup.vmgenid, &setup.memory, 1, NULL), 0);
    assert_int_equal(guest_read(&setup.memory, ACPI_VMGENID_GPA, second, 16), 0);
    assert_memory_not_equal(first, second, 16);
    assert_int_equal(interrupts(&setup.ports), 1);
    assert_int_equal(guest_read(&setup.memory, ACPI_VMGENID_GPA - 16, around, 48), 0);
    assert_memory_equal(around, zeros, 16);
    assert_memory_equal(around + 32, zeros, 16);
    teardown(&setup);
}

static void renew_tells_what_failed(void **state)
{
    (void)state;
    struct setup setup;
    struct error err = {0};
    setup_init(&setup);
    setup.vmgenid.gpa = (2u << 20) - 15;
    assert_int_equal(vmgenid_renew(&setup.vmgenid, &setup.memory, 1, &err), -EFAULT);
    assert_string_equal(err.message, "VM generation id at 0x1ffff1 is outside guest memory");
    assert_int_equal(interrupts(&setup.ports), 0);
    setup.vmgenid = (struct vmgenid){.gpa = ACPI_VMGENID_GPA, .irq_fd = -1};
    assert_int_equal(vmgenid_renew(&setup.vmgenid, &setup.memory, 0, &err), 0);
    assert_int_equal(vmgenid_renew(&setup.vmgenid, &setup.memory, 1, &err), -EBADF);
    teardown(&setup);
}

static void every_field_survives(void **state)
{
    (void)state;
    struct setup setup;
    struct state_writer writer;
    struct state_reader reader;
    struct vmgenid other = {.irq_fd = 77};
    setup_init(&setup);
    state_writer_init(&writer);
    vmgenid_save(&setup.vmgenid, &writer);
    state_turn(&writer, &reader);
    assert_int_equal(vmgenid_load(&other, &reader, NULL), 0);
    assert_int_equal(other.gpa, ACPI_VMGENID_GPA);
    assert_int_equal(other.irq_fd, 77);
    state_writer_free(&writer);
    teardown(&setup);
}

static void assert_load_refused(uint64_t gpa)
{
    struct state_writer writer;
    struct state_reader reader;
    struct vmgenid vmgenid = {.gpa = 1234};
    struct error err = {0};
    state_make(&writer, &reader, STATE_VMGENID, 1, &gpa, sizeof(gpa));
    assert_true(vmgenid_load(&vmgenid, &reader, &err) < 0);
    assert_int_equal(err.code, ERROR_CORRUPT);
    assert_int_equal(vmgenid.gpa, 1234);
    state_writer_free(&writer);
}

static void refuses_bad_state(void **state)
{
    (void)state;
    struct state_writer writer;
    struct state_reader reader;
    struct vmgenid vmgenid = {0};
    struct error err = {0};
    uint64_t gpa[2] = {ACPI_VMGENID_GPA};
    assert_load_refused(0);
    assert_load_refused(ACPI_VMGENID_GPA + 4);
    assert_load_refused((1u << 20) - 8);
    assert_load_refused(UINT64_MAX - 7);
    state_make(&writer, &reader, STATE_VMGENID, 1, gpa, sizeof(gpa));
    assert_true(vmgenid_load(&vmgenid, &reader, &err) < 0);
    state_writer_free(&writer);
    state_make(&writer, &reader, STATE_VMGENID, 2, gpa, 8);
    assert_true(vmgenid_load(&vmgenid, &reader, &err) < 0);
    state_writer_free(&writer);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(renew_changes_the_bytes),
        cmocka_unit_test(renew_tells_what_failed),
        cmocka_unit_test(every_field_survives),
        cmocka_unit_test(refuses_bad_state),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
