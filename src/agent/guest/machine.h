/* SPDX-License-Identifier: Apache-2.0 */
/* What PID 1 does to the guest it was booted in, before it serves. */
#ifndef TINE_AGENT_GUEST_MACHINE_H
#define TINE_AGENT_GUEST_MACHINE_H

/* Mounts, console, modules, loopback, hostname. What fails is said on the console; the boot goes
 * on. */
void machine_set_up(void);

/* The guest can't be what it should be: the reason becomes the console's last line but for the
 * kernel's farewell, and the machine is powered off. */
void machine_give_up(const char *why);

/* Keeps the out-of-memory killer away from this process and its children (-1000), or puts it back
 * (0). */
void machine_oom_score(int adjustment);

/* Syncs the disks and ends the machine: `command` is one of RB_POWER_OFF, RB_AUTOBOOT. */
void machine_end(int command);

#endif
