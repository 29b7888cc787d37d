/* SPDX-License-Identifier: Apache-2.0 */
/* The root of an imported image: its disk, read-only, with the instance's overlay disk over it.
 * Commands, and files that are copied, are those of this root; the agent itself never enters it. */
#ifndef TINE_AGENT_GUEST_ROOT_H
#define TINE_AGENT_GUEST_ROOT_H

#include <stdbool.h>
#include <stddef.h>

#include "base/error.h"

/* Mounts what the kernel's command line asks for: tine.root=DEVICE tine.overlay=DEVICE. Without
 * them nothing is done. An error names the device and what is wrong with it. */
int root_set_up(struct error *err);

/* Makes the root that of this process, with "/" as its working directory; for a child that is
 * about to run a command or to touch files. Nothing is done where no root was set up. 0 or -errno.
 */
int root_enter(void);

/* The value of "<key>=VALUE" in a command line, the last one; false if there is none, or one that
 * is empty or does not fit. */
bool root_option(const char *cmdline, const char *key, char *value, size_t size);

#endif
