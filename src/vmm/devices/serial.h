/* SPDX-License-Identifier: Apache-2.0 */
/* A 16550A UART at 0x3f8, GSI 4, that writes what the guest sends into a log with a size cap. */
#ifndef TINE_VMM_DEVICES_SERIAL_H
#define TINE_VMM_DEVICES_SERIAL_H

#include <stdint.h>

#include "vmm/devices/bus.h"
#include "vmm/state.h"

#define SERIAL_PORT      0x3f8u
#define SERIAL_GSI       4u
#define SERIAL_LOG_LIMIT (4u << 20) /* bytes; then the file starts over, see serial_create() */

struct serial;

/* `out_fd` (owned; -1: discard) receives the guest's bytes. A regular file is kept below
 * SERIAL_LOG_LIMIT: when it would pass it, the older half is dropped. `irq_fd` (borrowed eventfd)
 * raises GSI 4. Failing or blocking writes lose bytes, never stop the guest. */
struct serial *serial_create(int out_fd, int irq_fd, struct error *err);
void serial_destroy(struct serial *serial);
struct bus_device *serial_bus_device(struct serial *serial);
void serial_save(const struct serial *serial, struct state_writer *writer);
int serial_load(struct serial *serial, const struct state_reader *reader, struct error *err);

#endif
