/* SPDX-License-Identifier: Apache-2.0 */
/* A device on a port bus with an eventfd for its interrupt, driven the way a guest does, and a
 * state file around a section of it. */
#ifndef TINE_TESTS_VMM_BOOT_PORTS_H
#define TINE_TESTS_VMM_BOOT_PORTS_H

#include <stddef.h>
#include <stdint.h>

#include "vmm/devices/bus.h"
#include "vmm/state.h"

struct ports {
    struct bus bus;
    int irq_fd;
};

void ports_init(struct ports *ports);
void ports_release(struct ports *ports);
void ports_attach(struct ports *ports, struct bus_device *device);
uint8_t port_in(const struct ports *ports, uint16_t port);
void port_out(const struct ports *ports, uint16_t port, unsigned value);
/* How many interrupts came since the last call. */
unsigned interrupts(const struct ports *ports);

/* Completes the file and opens a reader on it. */
void state_turn(struct state_writer *writer, struct state_reader *reader);
/* A finished state file with one section of these bytes. */
void state_make(struct state_writer *writer, struct state_reader *reader, enum state_kind kind,
                uint32_t version, const void *payload, size_t length);

#endif
