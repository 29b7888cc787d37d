/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <fcntl.h>
#include <linux/serial_reg.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include <cmocka.h>

#include "ports.h"
#include "vmm/devices/serial.h"

#define PORT(offset) (SERIAL_PORT + (offset))

/* The saved registers, byte by byte as the state file has them. */
enum {
    IER,
    LCR,
    MCR,
    SCR,
    DLL,
    DLM,
    FIFO,
    OVERRUN,
    THRE,
    COUNT,
    RX,
    RESERVED = RX + 16,
    SIZE = 32
};

struct setup {
    struct ports ports;
    struct serial *serial;
    int out; /* a second descriptor of what the guest's bytes go to */
};

static void setup_init(struct setup *setup)
{
    struct error err = {0};
    ports_init(&setup->ports);
    setup->out = memfd_create("console", MFD_CLOEXEC);
    assert_true(setup->out >= 0);
    setup->serial = serial_create(dup(setup->out), setup->ports.irq_fd, &err);
    assert_non_null(setup->serial);
    ports_attach(&setup->ports, serial_bus_device(setup->serial));
}

static void teardown(struct setup *setup)
{
    serial_destroy(setup->serial);
    ports_release(&setup->ports);
    close(setup->out);
}

static uint8_t in(const struct setup *setup, unsigned offset)
{
    return port_in(&setup->ports, (uint16_t)PORT(offset));
}

static void out(const struct setup *setup, unsigned offset, unsigned value)
{
    port_out(&setup->ports, (uint16_t)PORT(offset), value);
}

static void print(const struct setup *setup, const char *text)
{
    for (; *text; text++)
        out(setup, UART_TX, (unsigned char)*text);
}

static void assert_output(const struct setup *setup, const char *text)
{
    char buffer[4096] = {0};
    ssize_t n = pread(setup->out, buffer, sizeof(buffer) - 1, 0);
    assert_int_equal(n, strlen(text));
    assert_string_equal(buffer, text);
}

/* ---- registers ---- */

static void registers_keep_their_bits(void **state)
{
    (void)state;
    struct setup setup;
    setup_init(&setup);
    assert_int_equal(in(&setup, UART_LSR), UART_LSR_THRE | UART_LSR_TEMT);
    assert_int_equal(in(&setup, UART_MSR), UART_MSR_DCD | UART_MSR_DSR | UART_MSR_CTS);
    out(&setup, UART_SCR, 0xa5);
    assert_int_equal(in(&setup, UART_SCR), 0xa5);
    out(&setup, UART_IER, 0xff);
    assert_int_equal(in(&setup, UART_IER), 0x0f);
    out(&setup, UART_MCR, 0xff);
    assert_int_equal(in(&setup, UART_MCR), 0x1f);
    out(&setup, UART_LSR, 0);
    out(&setup, UART_MSR, 0);
    assert_int_equal(in(&setup, UART_LSR), UART_LSR_THRE | UART_LSR_TEMT);
    out(&setup, UART_LCR, UART_LCR_DLAB | UART_LCR_WLEN8);
    out(&setup, UART_DLL, 0x12);
    out(&setup, UART_DLM, 0x34);
    assert_int_equal(in(&setup, UART_DLL), 0x12);
    assert_int_equal(in(&setup, UART_DLM), 0x34);
    out(&setup, UART_LCR, UART_LCR_WLEN8);
    assert_int_equal(in(&setup, UART_IER), 0x0f);
    assert_int_equal(in(&setup, UART_RX), 0);
    assert_int_equal(in(&setup, UART_LCR), UART_LCR_WLEN8);
    teardown(&setup);
}

/* What Linux's 8250 driver does to find out which chip it is. */
static void linux_finds_a_16550a(void **state)
{
    (void)state;
    struct setup setup;
    setup_init(&setup);
    out(&setup, UART_MCR, UART_MCR_LOOP | UART_MCR_OUT2 | UART_MCR_RTS);
    assert_int_equal(in(&setup, UART_MSR) & 0xf0, UART_MSR_DCD | UART_MSR_CTS);
    out(&setup, UART_MCR, UART_MCR_LOOP | UART_MCR_OUT1 | UART_MCR_DTR);
    assert_int_equal(in(&setup, UART_MSR) & 0xf0, UART_MSR_RI | UART_MSR_DSR);
    out(&setup, UART_MCR, 0);
    assert_int_equal(in(&setup, UART_IIR), UART_IIR_NO_INT);
    out(&setup, UART_FCR, UART_FCR_ENABLE_FIFO);
    assert_int_equal(in(&setup, UART_IIR) >> 6, 3);
    out(&setup, UART_LCR, 0xbf); /* "EFR" is IIR here: not zero, so no 16650 or later */
    assert_int_not_equal(in(&setup, UART_EFR), 0);
    out(&setup, UART_LCR, 0);
    out(&setup, UART_IER, UART_IERX_SLEEP | 0x40); /* no sleep mode, no XScale unit enable */
    assert_int_equal(in(&setup, UART_IER), 0);
    out(&setup, UART_FCR, 0);
    assert_int_equal(in(&setup, UART_IIR) >> 6, 0);
    teardown(&setup);
}

static void loopback_fills_the_receiver(void **state)
{
    (void)state;
    struct setup setup;
    setup_init(&setup);
    out(&setup, UART_FCR, UART_FCR_ENABLE_FIFO);
    out(&setup, UART_MCR, UART_MCR_LOOP);
    for (unsigned i = 0; i < 17; i++)
        out(&setup, UART_TX, 'a' + i);
    assert_int_equal(in(&setup, UART_LSR) & (UART_LSR_DR | UART_LSR_OE), UART_LSR_DR | UART_LSR_OE);
    assert_int_equal(in(&setup, UART_LSR) & (UART_LSR_DR | UART_LSR_OE), UART_LSR_DR);
    for (unsigned i = 0; i < 16; i++)
        assert_int_equal(in(&setup, UART_RX), 'a' + i);
    assert_int_equal(in(&setup, UART_LSR) & UART_LSR_DR, 0);
    out(&setup, UART_TX, 'x');
    out(&setup, UART_FCR, UART_FCR_ENABLE_FIFO | UART_FCR_CLEAR_RCVR);
    assert_int_equal(in(&setup, UART_LSR) & UART_LSR_DR, 0);
    out(&setup, UART_FCR, 0); /* without FIFO there is room for one byte */
    out(&setup, UART_TX, 'y');
    out(&setup, UART_TX, 'z');
    assert_int_equal(in(&setup, UART_LSR) & (UART_LSR_DR | UART_LSR_OE), UART_LSR_DR | UART_LSR_OE);
    assert_int_equal(in(&setup, UART_RX), 'y');
    assert_output(&setup, "");
    teardown(&setup);
}

static void wide_accesses_are_ignored(void **state)
{
    (void)state;
    struct setup setup;
    uint8_t word[2] = {'a', 'b'};
    setup_init(&setup);
    bus_write(&setup.ports.bus, SERIAL_PORT, word, 2);
    bus_read(&setup.ports.bus, PORT(UART_LSR), word, 2);
    assert_int_equal(word[0] | word[1], 0);
    out(&setup, UART_TX, '\n');
    assert_output(&setup, "\n");
    teardown(&setup);
}

/* ---- interrupts ---- */

/* Linux enables THRI with nothing sent yet and expects an interrupt, twice (its THRE test). */
static void enabling_thri_interrupts_at_once(void **state)
{
    (void)state;
    struct setup setup;
    setup_init(&setup);
    assert_int_equal(interrupts(&setup.ports), 0);
    for (unsigned i = 0; i < 2; i++) {
        out(&setup, UART_IER, UART_IER_THRI);
        assert_int_equal(interrupts(&setup.ports), 1);
        assert_int_equal(in(&setup, UART_IIR), UART_IIR_THRI);
        assert_int_equal(in(&setup, UART_IIR), UART_IIR_NO_INT);
        out(&setup, UART_IER, 0);
    }
    assert_int_equal(interrupts(&setup.ports), 0);
    teardown(&setup);
}

/* The driver's loop: interrupt, read IIR, send up to 16 bytes, next interrupt. */
static void transmission_goes_on_by_interrupt(void **state)
{
    (void)state;
    struct setup setup;
    setup_init(&setup);
    out(&setup, UART_IER, UART_IER_THRI);
    for (unsigned i = 0; i < 3; i++) {
        assert_int_equal(interrupts(&setup.ports), 1);
        assert_int_equal(in(&setup, UART_IIR), UART_IIR_THRI);
        print(&setup, "0123456789abcdef");
    }
    assert_int_equal(interrupts(&setup.ports), 1);
    assert_output(&setup, "");
    out(&setup, UART_IER, 0); /* nothing more to send */
    assert_output(&setup, "0123456789abcdef0123456789abcdef0123456789abcdef");
    assert_int_equal(in(&setup, UART_IIR), UART_IIR_NO_INT);
    teardown(&setup);
}

static void out2_gates_the_interrupt(void **state)
{
    (void)state;
    struct setup setup;
    setup_init(&setup);
    out(&setup, UART_MCR, 0);
    out(&setup, UART_IER, UART_IER_THRI);
    assert_int_equal(interrupts(&setup.ports), 0);
    out(&setup, UART_MCR, UART_MCR_OUT2);
    assert_int_equal(interrupts(&setup.ports), 1);
    out(&setup, UART_MCR, UART_MCR_OUT2 | UART_MCR_LOOP);
    out(&setup, UART_MCR, UART_MCR_OUT2);
    assert_int_equal(interrupts(&setup.ports), 1);
    teardown(&setup);
}

static void pending_interrupts_have_an_order(void **state)
{
    (void)state;
    struct setup setup;
    setup_init(&setup);
    out(&setup, UART_MCR, UART_MCR_LOOP);
    out(&setup, UART_IER, UART_IER_THRI | UART_IER_RDI | UART_IER_RLSI);
    out(&setup, UART_TX, 'a');
    out(&setup, UART_TX, 'b'); /* overrun */
    assert_int_equal(in(&setup, UART_IIR), UART_IIR_RLSI);
    (void)in(&setup, UART_LSR);
    assert_int_equal(in(&setup, UART_IIR), UART_IIR_RDI);
    out(&setup, UART_MCR, UART_MCR_OUT2);
    assert_int_equal(interrupts(&setup.ports), 1);
    assert_int_equal(in(&setup, UART_RX), 'a');
    assert_int_equal(in(&setup, UART_IIR), UART_IIR_THRI);
    assert_int_equal(in(&setup, UART_IIR), UART_IIR_NO_INT);
    teardown(&setup);
}

/* ---- output ---- */

static void output_is_flushed_when_it_should_be(void **state)
{
    (void)state;
    struct setup setup;
    setup_init(&setup);
    print(&setup, "a line\nlogin: ");
    assert_output(&setup, "a line\n");
    (void)in(&setup, UART_LSR);
    assert_output(&setup, "a line\n");
    (void)in(&setup, UART_LSR); /* waits for input */
    assert_output(&setup, "a line\nlogin: ");
    print(&setup, "root");
    out(&setup, UART_IER, 0);
    assert_output(&setup, "a line\nlogin: root");
    for (unsigned i = 0; i < 256; i++) {
        (void)in(&setup, UART_LSR); /* polled sending: once per byte */
        out(&setup, UART_TX, 'x');
    }
    assert_int_equal(lseek(setup.out, 0, SEEK_END), 18 + 256);
    print(&setup, "end");
    serial_destroy(setup.serial);
    assert_int_equal(lseek(setup.out, 0, SEEK_END), 18 + 256 + 3);
    setup.serial = NULL;
    teardown(&setup);
}

static void output_can_be_discarded(void **state)
{
    (void)state;
    struct error err = {0};
    struct ports ports;
    ports_init(&ports);
    struct serial *serial = serial_create(-1, ports.irq_fd, &err);
    assert_non_null(serial);
    ports_attach(&ports, serial_bus_device(serial));
    for (unsigned i = 0; i < 1000; i++)
        port_out(&ports, SERIAL_PORT, i % 50 ? 'x' : '\n');
    serial_destroy(serial);
    ports_release(&ports);
}

static void refuses_a_bad_descriptor(void **state)
{
    (void)state;
    struct error err = {0};
    int fd = open("/dev/null", O_RDONLY | O_CLOEXEC);
    close(fd);
    assert_null(serial_create(fd, -1, &err));
    assert_int_equal(err.errnum, EBADF);
    assert_int_equal(err.code, ERROR_SYSTEM);
}

/* ---- state ---- */

/* Every register with a value of its own. */
static void fill_registers(const struct setup *setup)
{
    out(setup, UART_LCR, UART_LCR_DLAB);
    out(setup, UART_DLL, 0x21);
    out(setup, UART_DLM, 0x43);
    out(setup, UART_LCR, 0x1b);
    out(setup, UART_FCR, UART_FCR_ENABLE_FIFO);
    out(setup, UART_SCR, 0x65);
    out(setup, UART_MCR, UART_MCR_LOOP | UART_MCR_RTS);
    for (unsigned i = 0; i < 18; i++)
        out(setup, UART_TX, 'A' + i);
    (void)in(setup, UART_RX);
    out(setup, UART_IER, UART_IER_THRI | UART_IER_MSI);
}

static void save(const struct setup *setup, struct state_writer *writer,
                 struct state_reader *reader)
{
    state_writer_init(writer);
    serial_save(setup->serial, writer);
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
    setup_init(&setup);
    setup_init(&other);
    fill_registers(&setup);
    save(&setup, &writer, &reader);
    assert_int_equal(state_get(&reader, STATE_SERIAL, 0, 1, saved, SIZE, &err), 0);
    assert_int_equal(saved[IER], UART_IER_THRI | UART_IER_MSI);
    assert_int_equal(saved[LCR], 0x1b);
    assert_int_equal(saved[MCR], UART_MCR_LOOP | UART_MCR_RTS);
    assert_int_equal(saved[SCR], 0x65);
    assert_int_equal(saved[DLL], 0x21);
    assert_int_equal(saved[DLM], 0x43);
    assert_int_equal(saved[FIFO], 1);
    assert_int_equal(saved[OVERRUN], 1);
    assert_int_equal(saved[THRE], 1);
    assert_int_equal(saved[COUNT], 15);
    assert_memory_equal(saved + RX, "BCDEFGHIJKLMNOP", 16);
    assert_int_equal(serial_load(other.serial, &reader, &err), 0);
    save(&other, &again, &second);
    assert_int_equal(state_get(&second, STATE_SERIAL, 0, 1, reloaded, SIZE, &err), 0);
    assert_memory_equal(saved, reloaded, SIZE);
    /* And it behaves: the loopback bytes come out. */
    assert_int_equal(in(&other, UART_LSR) & (UART_LSR_DR | UART_LSR_OE), UART_LSR_DR | UART_LSR_OE);
    for (unsigned i = 0; i < 15; i++)
        assert_int_equal(in(&other, UART_RX), 'B' + i);
    state_writer_free(&writer);
    state_writer_free(&again);
    teardown(&setup);
    teardown(&other);
}

/* Saved between the interrupt and its handling: a restored guest gets it again. */
static void pending_interrupt_is_raised_again(void **state)
{
    (void)state;
    struct setup setup, other;
    struct state_writer writer;
    struct state_reader reader;
    struct error err = {0};
    setup_init(&setup);
    setup_init(&other);
    out(&setup, UART_IER, UART_IER_THRI);
    print(&setup, "no newline");
    save(&setup, &writer, &reader);
    assert_output(&setup, "no newline");
    assert_int_equal(serial_load(other.serial, &reader, &err), 0);
    assert_int_equal(interrupts(&other.ports), 1);
    assert_int_equal(in(&other, UART_IIR), UART_IIR_THRI);
    state_writer_free(&writer);
    teardown(&setup);
    teardown(&other);
}

static void assert_load_refused(unsigned field, uint8_t value)
{
    struct setup setup;
    struct state_writer writer;
    struct state_reader reader;
    struct error err = {0};
    uint8_t bytes[SIZE] = {0}, before[SIZE];
    setup_init(&setup);
    save(&setup, &writer, &reader);
    assert_int_equal(state_get(&reader, STATE_SERIAL, 0, 1, before, SIZE, &err), 0);
    state_writer_free(&writer);
    bytes[field] = value;
    state_make(&writer, &reader, STATE_SERIAL, 1, bytes, SIZE);
    assert_true(serial_load(setup.serial, &reader, &err) < 0);
    assert_int_equal(err.code, ERROR_CORRUPT);
    state_writer_free(&writer);
    /* Nothing of it was taken. */
    save(&setup, &writer, &reader);
    assert_int_equal(state_get(&reader, STATE_SERIAL, 0, 1, bytes, SIZE, &err), 0);
    assert_memory_equal(bytes, before, SIZE);
    state_writer_free(&writer);
    teardown(&setup);
}

static void refuses_bad_state(void **state)
{
    (void)state;
    struct setup setup;
    struct state_writer writer;
    struct state_reader reader;
    struct error err = {0};
    const uint8_t bytes[SIZE] = {0};
    assert_load_refused(IER, 0x10);
    assert_load_refused(MCR, 0x20);
    assert_load_refused(FIFO, 2);
    assert_load_refused(OVERRUN, 2);
    assert_load_refused(THRE, 2);
    assert_load_refused(COUNT, 2); /* without FIFO: one byte at most */
    assert_load_refused(COUNT, 17);
    assert_load_refused(COUNT, 255);
    assert_load_refused(RESERVED, 1);
    assert_load_refused(SIZE - 1, 1);
    setup_init(&setup);
    state_make(&writer, &reader, STATE_SERIAL, 2, bytes, SIZE);
    assert_true(serial_load(setup.serial, &reader, &err) < 0);
    state_writer_free(&writer);
    state_make(&writer, &reader, STATE_SERIAL, 1, bytes, SIZE - 8);
    assert_true(serial_load(setup.serial, &reader, &err) < 0);
    state_writer_free(&writer);
    state_make(&writer, &reader, STATE_I8042, 1, bytes, SIZE);
    assert_true(serial_load(setup.serial, &reader, &err) < 0);
    state_writer_free(&writer);
    teardown(&setup);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(registers_keep_their_bits),
        cmocka_unit_test(linux_finds_a_16550a),
        cmocka_unit_test(loopback_fills_the_receiver),
        cmocka_unit_test(wide_accesses_are_ignored),
        cmocka_unit_test(enabling_thri_interrupts_at_once),
        cmocka_unit_test(transmission_goes_on_by_interrupt),
        cmocka_unit_test(out2_gates_the_interrupt),
        cmocka_unit_test(pending_interrupts_have_an_order),
        cmocka_unit_test(output_is_flushed_when_it_should_be),
        cmocka_unit_test(output_can_be_discarded),
        cmocka_unit_test(refuses_a_bad_descriptor),
        cmocka_unit_test(every_field_survives),
        cmocka_unit_test(pending_interrupt_is_raised_again),
        cmocka_unit_test(refuses_bad_state),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
