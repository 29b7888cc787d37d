/* SPDX-License-Identifier: Apache-2.0 */
/* Inside the room: VMMs that a tined has left behind: templates, what was made of them, and whoever
 * was only half made (live.h, capture.h, hot.h). Nobody knows them any more, and their directories
 * are swept. */
#ifndef TINE_INSTANCE_STRAYS_H
#define TINE_INSTANCE_STRAYS_H

#include <sys/stat.h>

#include "instance/proc.h"

/* Ends all whose guest directory has a temporary name in `dirfd`; `path` is for messages. A process
 * sees its maker's directory until it moves into its own, and for a moment none: it is waited for.
 * What fails is logged, as by the next. */
void strays_end(int dirfd, const char *path);
/* Ends all whose guest directory that is. */
void strays_end_in(int guest_fd, const char *path);
/* The same of those that are known; returns how many there were. */
int strays_end_seeing(const struct stat *st, const char *path, const struct proc_vmm *vmms,
                      size_t count, struct error *err);
int stray_end(const char *path, pid_t pid, uint64_t start_ticks, struct error *err);

#endif
