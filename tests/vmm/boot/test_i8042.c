/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>

#include "base/cleanup.h"
#include "ports.h"
#include "vmm/boot/acpi.h"
#include "vmm/devices/i8042.h"

#define DATA    0x60u
#define COMMAND 0x64u

#define FULL  0x01u
#define ERROR (-1)

/* The saved registers, byte by byte as the state file has them. */
enum { CONTROL, OUTPUT, PENDING, WROTE, COUNT, BUFFER, RESERVED = BUFFER + 16, SIZE = 24 };

struct setup {
    struct ports ports;
    struct i8042 *i8042;
    unsigned resets;
};

static void count_reset(void *context)
{
    struct setup *setup = context;
    setup->resets++;
}

static void setup_init(struct setup *setup)
{
    *setup = (struct setup){0};
    ports_init(&setup->ports);
    setup->i8042 = i8042_create(setup->ports.irq_fd, count_reset, setup, NULL);
    assert_non_null(setup->i8042);
    ports_attach(&setup->ports, i8042_bus_device(setup->i8042));
}

static void teardown(struct setup *setup)
{
    i8042_destroy(setup->i8042);
    ports_release(&setup->ports);
}

static void command(const struct setup *setup, unsigned value)
{
    port_out(&setup->ports, COMMAND, value);
}

static void data(const struct setup *setup, unsigned value)
{
    port_out(&setup->ports, DATA, value);
}

static uint8_t status(const struct setup *setup)
{
    return port_in(&setup->ports, COMMAND);
}

/* The next byte of the output buffer, or ERROR when it is empty. */
static int answer(const struct setup *setup)
{
    return status(setup) & FULL ? port_in(&setup->ports, DATA) : ERROR;
}

/* ---- commands ---- */

static void status_starts_idle(void **state)
{
    (void)state;
    struct setup setup;
    setup_init(&setup);
    assert_int_equal(status(&setup), 0x14);
    assert_int_equal(port_in(&setup.ports, DATA), 0);
    command(&setup, 0xae);
    assert_int_equal(status(&setup), 0x1c);
    data(&setup, 0xf4);
    assert_int_equal(status(&setup), 0x15);
    teardown(&setup);
}

/* What Linux's i8042 driver does at boot. */
static void linux_probe(void **state)
{
    (void)state;
    struct setup setup;
    setup_init(&setup);
    assert_int_equal(answer(&setup), ERROR);
    command(&setup, 0xaa);
    assert_int_equal(answer(&setup), 0x55);
    command(&setup, 0x20);
    assert_int_equal(answer(&setup), 0x25);
    command(&setup, 0x60); /* keyboard and its interrupt off */
    data(&setup, 0x34);
    command(&setup, 0x20);
    assert_int_equal(answer(&setup), 0x34);
    command(&setup, 0xab);
    assert_int_equal(answer(&setup), 0x00);
    command(&setup, 0xa9);
    assert_int_equal(answer(&setup), 0x02);
    command(&setup, 0xa8);
    command(&setup, 0x20);
    assert_int_equal(answer(&setup), 0x14);
    command(&setup, 0xa7);
    command(&setup, 0xad);
    command(&setup, 0x20);
    assert_int_equal(answer(&setup), 0x34);
    command(&setup, 0xae);
    command(&setup, 0x20);
    assert_int_equal(answer(&setup), 0x24);
    assert_int_equal(answer(&setup), ERROR);
    assert_int_equal(setup.resets, 0);
    teardown(&setup);
}

static void output_port(void **state)
{
    (void)state;
    struct setup setup;
    setup_init(&setup);
    command(&setup, 0xd0);
    assert_int_equal(answer(&setup), 0x03);
    command(&setup, 0xd1);
    data(&setup, 0xdf);
    command(&setup, 0xd0);
    assert_int_equal(answer(&setup), 0xdf);
    assert_int_equal(setup.resets, 0);
    command(&setup, 0xd1);
    data(&setup, 0xde); /* the reset line low */
    assert_int_equal(setup.resets, 1);
    teardown(&setup);
}

static void no_mouse_answers(void **state)
{
    (void)state;
    struct setup setup;
    setup_init(&setup);
    command(&setup, 0xd4);
    data(&setup, 0xf2);
    assert_int_equal(answer(&setup), ERROR);
    command(&setup, 0xd3);
    data(&setup, 0x5a);
    assert_int_equal(answer(&setup), ERROR);
    command(&setup, 0xd2);
    data(&setup, 0x5a);
    assert_int_equal(answer(&setup), 0x5a);
    teardown(&setup);
}

/* Only 0xFE resets; the ACPI reset register is the same thing. */
static void reset_command(void **state)
{
    (void)state;
    struct setup setup;
    setup_init(&setup);
    for (unsigned value = 0; value < 256; value++) {
        setup.resets = 0;
        command(&setup, value);
        assert_int_equal(setup.resets, value == ACPI_RESET_VALUE);
    }
    assert_int_equal(ACPI_RESET_PORT, COMMAND);
    setup.resets = 0;
    for (unsigned value = 0; value < 256; value++) {
        data(&setup, value);
        (void)answer(&setup);
        port_out(&setup.ports, 0x61, value);
    }
    assert_int_equal(setup.resets, 0);
    teardown(&setup);
}

/* ---- the keyboard ---- */

static void keyboard_acknowledges(void **state)
{
    (void)state;
    struct setup setup;
    setup_init(&setup);
    for (unsigned value = 0; value < 256; value++) {
        data(&setup, value);
        assert_int_equal(answer(&setup), 0xfa);
        if (value == 0xf2) {
            assert_int_equal(answer(&setup), 0xab);
            assert_int_equal(answer(&setup), 0x83);
        }
        if (value == 0xff)
            assert_int_equal(answer(&setup), 0xaa);
        assert_int_equal(answer(&setup), ERROR);
    }
    teardown(&setup);
}

/* A guest that never reads doesn't overrun the buffer. */
static void full_buffer_drops_answers(void **state)
{
    (void)state;
    struct setup setup;
    struct error err = {0};
    setup_init(&setup);
    for (unsigned i = 0; i < 100; i++)
        data(&setup, 0xed);
    assert_int_equal(i8042_ctrl_alt_del(setup.i8042, &err), -EBUSY);
    for (unsigned i = 0; i < 16; i++)
        assert_int_equal(answer(&setup), 0xfa);
    assert_int_equal(answer(&setup), ERROR);
    teardown(&setup);
}

static void every_byte_interrupts_when_enabled(void **state)
{
    (void)state;
    struct setup setup;
    setup_init(&setup);
    data(&setup, 0xf2);
    for (unsigned i = 0; i < 3; i++) {
        assert_int_equal(interrupts(&setup.ports), 1);
        assert_int_not_equal(answer(&setup), ERROR);
    }
    assert_int_equal(interrupts(&setup.ports), 0);
    command(&setup, 0x60);
    data(&setup, 0x04);
    data(&setup, 0xf4);
    assert_int_equal(interrupts(&setup.ports), 0);
    command(&setup, 0x60);
    data(&setup, 0x05);
    assert_int_equal(interrupts(&setup.ports), 1);
    assert_int_equal(answer(&setup), 0xfa);
    assert_int_equal(interrupts(&setup.ports), 0);
    teardown(&setup);
}

static void ctrl_alt_del_sends_scan_codes(void **state)
{
    (void)state;
    static const uint8_t set2[] = {0x14, 0x11, 0xe0, 0x71, 0xe0, 0xf0,
                                   0x71, 0xf0, 0x11, 0xf0, 0x14};
    static const uint8_t set1[] = {0x1d, 0x38, 0xe0, 0x53, 0xe0, 0xd3, 0xb8, 0x9d};
    struct setup setup;
    struct error err = {0};
    setup_init(&setup);
    assert_int_equal(i8042_ctrl_alt_del(setup.i8042, &err), 0);
    for (size_t i = 0; i < sizeof(set2); i++) {
        assert_int_equal(interrupts(&setup.ports), 1);
        assert_int_equal(answer(&setup), set2[i]);
    }
    assert_int_equal(answer(&setup), ERROR);
    command(&setup, 0x60);
    data(&setup, 0x45); /* with translation */
    assert_int_equal(i8042_ctrl_alt_del(setup.i8042, &err), 0);
    for (size_t i = 0; i < sizeof(set1); i++)
        assert_int_equal(answer(&setup), set1[i]);
    assert_int_equal(answer(&setup), ERROR);
    /* Twice fits for set 1; all or nothing. */
    assert_int_equal(i8042_ctrl_alt_del(setup.i8042, &err), 0);
    assert_int_equal(i8042_ctrl_alt_del(setup.i8042, &err), 0);
    assert_int_equal(i8042_ctrl_alt_del(setup.i8042, &err), -EBUSY);
    assert_int_equal(err.code, ERROR_STATE);
    for (size_t i = 0; i < 16; i++)
        assert_int_equal(answer(&setup), set1[i % 8]);
    teardown(&setup);
}

static void ctrl_alt_del_needs_a_keyboard(void **state)
{
    (void)state;
    struct setup setup;
    struct error err = {0};
    setup_init(&setup);
    command(&setup, 0xad);
    assert_int_equal(i8042_ctrl_alt_del(setup.i8042, &err), -EAGAIN);
    assert_int_equal(err.code, ERROR_STATE);
    assert_int_equal(answer(&setup), ERROR);
    data(&setup, 0xf4); /* a byte to the keyboard switches it on */
    assert_int_equal(answer(&setup), 0xfa);
    assert_int_equal(i8042_ctrl_alt_del(setup.i8042, &err), 0);
    teardown(&setup);
}

/* ---- state ---- */

static void save(const struct setup *setup, struct state_writer *writer,
                 struct state_reader *reader)
{
    state_writer_init(writer);
    i8042_save(setup->i8042, writer);
    state_turn(writer, reader);
}

static void every_field_survives(void **state)
{
    (void)state;
    struct setup setup, other;
    struct state_writer writer, again;
    struct state_reader reader, second;
    struct error err = {0};
    uint8_t saved[SIZE], reloaded[SIZE];
    const uint8_t buffer[16] = {0xab, 0x83, 0xfa};
    setup_init(&setup);
    setup_init(&other);
    command(&setup, 0x60);
    data(&setup, 0x47);
    command(&setup, 0xd1);
    data(&setup, 0xcd);
    data(&setup, 0xf2);
    data(&setup, 0xf3);
    (void)answer(&setup);
    command(&setup, 0xd4);
    save(&setup, &writer, &reader);
    assert_int_equal(state_get(&reader, STATE_I8042, 0, 1, saved, SIZE, &err), 0);
    assert_int_equal(saved[CONTROL], 0x47);
    assert_int_equal(saved[OUTPUT], 0xcd);
    assert_int_equal(saved[PENDING], 0xd4);
    assert_int_equal(saved[WROTE], 1);
    assert_int_equal(saved[COUNT], 3);
    assert_memory_equal(saved + BUFFER, buffer, 16);
    assert_int_equal(i8042_load(other.i8042, &reader, &err), 0);
    assert_int_equal(interrupts(&other.ports), 1);
    save(&other, &again, &second);
    assert_int_equal(state_get(&second, STATE_I8042, 0, 1, reloaded, SIZE, &err), 0);
    assert_memory_equal(saved, reloaded, SIZE);
    /* And it behaves: the byte goes to the mouse that isn't there, the answers come out. */
    data(&other, 0xff);
    assert_int_equal(answer(&other), 0xab);
    assert_int_equal(answer(&other), 0x83);
    assert_int_equal(answer(&other), 0xfa);
    assert_int_equal(answer(&other), ERROR);
    state_writer_free(&writer);
    state_writer_free(&again);
    teardown(&setup);
    teardown(&other);
}

static void assert_load(unsigned field, uint8_t value, int expected)
{
    struct setup setup;
    struct state_writer writer;
    struct state_reader reader;
    struct error err = {0};
    uint8_t bytes[SIZE] = {[OUTPUT] = 1};
    bytes[field] = value;
    setup_init(&setup);
    state_make(&writer, &reader, STATE_I8042, 1, bytes, SIZE);
    assert_int_equal(i8042_load(setup.i8042, &reader, &err) < 0 ? ERROR : 0, expected);
    assert_int_equal(err.code, expected ? ERROR_CORRUPT : ERROR_SYSTEM);
    if (expected)
        assert_int_equal(status(&setup), 0x14); /* nothing of it was taken */
    state_writer_free(&writer);
    teardown(&setup);
}

static void refuses_bad_state(void **state)
{
    (void)state;
    assert_load(CONTROL, 0x7f, 0);
    assert_load(CONTROL, 0x80, ERROR);
    assert_load(OUTPUT, 0, ERROR);
    assert_load(PENDING, 0x60, 0);
    assert_load(PENDING, 0x20, ERROR); /* takes no data byte */
    assert_load(PENDING, 0x99, ERROR);
    assert_load(WROTE, 2, ERROR);
    assert_load(COUNT, 16, 0);
    assert_load(COUNT, 17, ERROR);
    assert_load(COUNT, 255, ERROR);
    assert_load(RESERVED, 1, ERROR);
    assert_load(SIZE - 1, 1, ERROR);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(status_starts_idle),
        cmocka_unit_test(linux_probe),
        cmocka_unit_test(output_port),
        cmocka_unit_test(no_mouse_answers),
        cmocka_unit_test(reset_command),
        cmocka_unit_test(keyboard_acknowledges),
        cmocka_unit_test(full_buffer_drops_answers),
        cmocka_unit_test(every_byte_interrupts_when_enabled),
        cmocka_unit_test(ctrl_alt_del_sends_scan_codes),
        cmocka_unit_test(ctrl_alt_del_needs_a_keyboard),
        cmocka_unit_test(every_field_survives),
        cmocka_unit_test(refuses_bad_state),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
