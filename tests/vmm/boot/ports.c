/* SPDX-License-Identifier: Apache-2.0 */
#include "ports.h"

#include <setjmp.h>
#include <stdarg.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include <cmocka.h>

void ports_init(struct ports *ports)
{
    *ports = (struct ports){.irq_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK)};
    assert_true(ports->irq_fd >= 0);
}

void ports_release(struct ports *ports)
{
    close(ports->irq_fd);
}

void ports_attach(struct ports *ports, struct bus_device *device)
{
    assert_int_equal(bus_add(&ports->bus, device, NULL), 0);
}

uint8_t port_in(const struct ports *ports, uint16_t port)
{
    uint8_t value = 0xee;
    bus_read(&ports->bus, port, &value, 1);
    return value;
}

void port_out(const struct ports *ports, uint16_t port, unsigned value)
{
    uint8_t byte = (uint8_t)value;
    bus_write(&ports->bus, port, &byte, 1);
}

unsigned interrupts(const struct ports *ports)
{
    uint64_t count = 0;
    return read(ports->irq_fd, &count, sizeof(count)) < 0 ? 0 : (unsigned)count;
}

void state_turn(struct state_writer *writer, struct state_reader *reader)
{
    struct error err = {0};
    assert_int_equal(state_writer_finish(writer, &err), 0);
    assert_int_equal(state_reader_open(reader, writer->data, writer->length, &err), 0);
}

void state_make(struct state_writer *writer, struct state_reader *reader, enum state_kind kind,
                uint32_t version, const void *payload, size_t length)
{
    state_writer_init(writer);
    state_put(writer, kind, 0, version, payload, length);
    state_turn(writer, reader);
}
