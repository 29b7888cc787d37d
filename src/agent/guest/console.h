/* SPDX-License-Identifier: Apache-2.0 */
#ifndef TINE_AGENT_GUEST_CONSOLE_H
#define TINE_AGENT_GUEST_CONSOLE_H

/* Writes one line, "tine-agent: ...", to standard error: in a guest that is the console. */
void console_say(const char *format, ...) __attribute__((format(printf, 1, 2)));
/* The line that says the guest is up; kvm-probe and people wait for it. */
void console_ready(void);

#endif
