/* SPDX-License-Identifier: Apache-2.0 */
/* Inside the room: log/operations.log of a guest directory: a line for every operation on the
 * instance that has ended, and for what happened to it with no operation under way. It is for who
 * looks after one instance, and goes with it; tined's own log tells of all. */
#ifndef TINE_INSTANCE_OPERATION_LOG_H
#define TINE_INSTANCE_OPERATION_LOG_H

#include "instance/host.h"

#define GUEST_LOG            "log"
#define OPERATIONS_LOG       "operations.log"
#define OPERATIONS_LOG_OLDER "operations.log.1"
#define GUEST_OPERATIONS_LOG GUEST_LOG "/" OPERATIONS_LOG

#define OPERATION_LOG_LIMIT (64u << 10) /* bytes; a full one takes the place of the older one */

/* Opens log/ of the instance with this id, but no symbolic link: a VMM can write in it. Returns the
 * descriptor or a negative errno. */
int log_directory(const struct host *host, const char *id);

/* An operation that lets go of the instance before its line comes: makes room for that while it
 * still holds it. */
void operation_log_prepare(const struct operation *op);
/* Adds a line, with the time before it. It only tells: if that fails, tined's log says so. One that
 * does not hold the instance only adds to a log that is there. */
void operation_log_add(const struct operation *op, const char *format, ...)
    __attribute__((format(printf, 2, 3)));

#endif
