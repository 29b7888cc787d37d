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

/* `out_fd` (owned, also after a failure; -1: discard) receives the guest's bytes. A regular file is
 * written at its end and kept below SERIAL_LOG_LIMIT: when it would pass it, the older half is
 * dropped; open it for reading as well, or all of it is. Anything else is made non-blocking; the
 * process must ignore SIGPIPE. `irq_fd` (borrowed eventfd) raises GSI 4. Failing or blocking writes
 * lose bytes, never stop the guest.
 *
 * Bytes go out at a newline, when 256 have gathered, when the guest writes IER (Linux does at the
 * end of each burst, so prompts show), when it reads LSR twice in a row (it polls for input), at
 * serial_save() and at serial_destroy(). */
struct serial *serial_create(int out_fd, int irq_fd, struct error *err);
void serial_destroy(struct serial *serial);
struct bus_device *serial_bus_device(struct serial *serial);
void serial_save(const struct serial *serial, struct state_writer *writer);
int serial_load(struct serial *serial, const struct state_reader *reader, struct error *err);

#endif
