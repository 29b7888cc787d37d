/* SPDX-License-Identifier: Apache-2.0 */
/* The requests that are answered by one frame. */
#ifndef TINE_AGENT_GUEST_CONTROL_H
#define TINE_AGENT_GUEST_CONTROL_H

#include <stdbool.h>

#include "agent/protocol.h"

void control_hello(int fd, const struct agent_frame *request, bool machine);
void control_sync(int fd, const struct agent_frame *request, bool machine);
/* After a restore or fork: entropy, clock, hostname. Outside a guest it is checked and ignored. */
void control_restored(int fd, const struct agent_frame *request, bool machine);
/* Outside a guest it ends the server instead. */
void control_poweroff(int fd, const struct agent_frame *request, bool machine);

/* Powers off, or ends the server. */
void control_power_off(bool machine);
/* The same answers, without waiting for the host to close. */
void control_send_hello(int fd);
void control_send_restored(int fd, const struct agent_frame *request, bool machine);
/* Answers AGENT_OK with these fields and lingers. */
void control_answer(int fd, const struct agent_fields *fields);
/* Answers AGENT_FAILED and lingers. */
void control_fail(int fd, int errnum, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

#endif
