/* SPDX-License-Identifier: Apache-2.0 */
/* Where the console's bytes go: a descriptor behind a small buffer, and for a regular file a cap on
 * its size. Losing bytes is allowed, stopping the guest is not. */
#ifndef TINE_VMM_DEVICES_SERIAL_LOG_H
#define TINE_VMM_DEVICES_SERIAL_LOG_H

#include <stdint.h>

#include "base/error.h"

struct serial_log;

/* `fd` is owned, also after a failure; -1 discards everything. A regular file is written at its end
 * and kept at or below `limit` bytes; open it for reading as well, or nothing of the old content
 * can be kept when it is full. Any other descriptor is made non-blocking until destroy. */
struct serial_log *serial_log_create(int fd, uint64_t limit, struct error *err);
/* Flushes, then closes the descriptor. */
void serial_log_destroy(struct serial_log *log);
/* Buffers one byte; a newline or a full buffer flushes. */
void serial_log_put(struct serial_log *log, uint8_t byte);
void serial_log_flush(struct serial_log *log);

#endif
