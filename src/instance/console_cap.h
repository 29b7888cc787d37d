/* SPDX-License-Identifier: Apache-2.0 */
/* tine-vmm keeps its guest's console log small by itself. Where the console is a VMM's standard
 * output nobody does, and a guest could fill the host's disk: a thread cuts those logs. */
#ifndef TINE_INSTANCE_CONSOLE_CAP_H
#define TINE_INSTANCE_CONSOLE_CAP_H

#include "base/error.h"

#define CONSOLE_CAP (4u << 20) /* bytes; what is larger loses its older half */

struct host;
struct console_cap;

struct console_cap *console_cap_start(struct host *host, struct error *err);
/* Ends the thread; NULL is nothing. */
void console_cap_stop(struct console_cap *cap);

/* Cuts a log that is larger than CONSOLE_CAP; one that something else has been put in place of is
 * left alone. Where the file system can't take the start off a file all of it goes. What a VMM
 * appends meanwhile is not lost. 1: it was cut. */
int console_cut(int directory, const char *name, struct error *err);

#endif
