/* SPDX-License-Identifier: Apache-2.0 */
/* Inside the room: VMMs that a tined has left behind in directories that were only half made, or
 * were never to be more: templates, and what was made of them (live.h, hot.h). Nobody knows them
 * any more, and their directories are swept. */
#ifndef TINE_INSTANCE_STRAYS_H
#define TINE_INSTANCE_STRAYS_H

#include "instance/proc.h"

/* Ends all whose guest directory has a temporary name in `dirfd`; `path` is for messages. A process
 * sees its maker's directory until it moves into its own, and for a moment none: it is waited for.
 */
int strays_end(int dirfd, const char *path, struct error *err);
/* Ends all whose guest directory that is. What fails is logged. */
void strays_end_in(int guest_fd, const char *path);

#endif
