/* SPDX-License-Identifier: Apache-2.0 */
/* The little of an i8042 that Linux needs to reboot and to receive Ctrl-Alt-Del: ports 0x60..0x64,
 * GSI 1. Command 0xFE resets the machine. */
#ifndef TINE_VMM_DEVICES_I8042_H
#define TINE_VMM_DEVICES_I8042_H

#include "vmm/devices/bus.h"
#include "vmm/state.h"

#define I8042_PORT 0x60u
#define I8042_GSI  1u

struct i8042;

/* `reset` is called (on a vCPU thread, device lock held) when the guest asks for a reset. `irq_fd`
 * is a borrowed eventfd. */
struct i8042 *i8042_create(int irq_fd, void (*reset)(void *context), void *context,
                           struct error *err);
void i8042_destroy(struct i8042 *i8042);
struct bus_device *i8042_bus_device(struct i8042 *i8042);
/* Queues the scan codes of Ctrl-Alt-Del and raises the interrupt. -EBUSY if the buffer is full,
 * -EAGAIN while the guest has the keyboard switched off; both are ERROR_STATE. */
int i8042_ctrl_alt_del(struct i8042 *i8042, struct error *err);
void i8042_save(const struct i8042 *i8042, struct state_writer *writer);
int i8042_load(struct i8042 *i8042, const struct state_reader *reader, struct error *err);

#endif
