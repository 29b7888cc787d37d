/* SPDX-License-Identifier: Apache-2.0 */
/* Files in and out of the guest: each serves one request to its end, answers included. */
#ifndef TINE_AGENT_GUEST_COPY_H
#define TINE_AGENT_GUEST_COPY_H

#include <stdbool.h>

#include "agent/protocol.h"

/* Says what a path is. That it is not there is an answer, too. */
void copy_stat(int fd, const struct agent_frame *frame, bool machine);

/* Writes a file, directory or symbolic link. A file takes its name complete, by rename, when the
 * host has sent END: until then, and if the connection is lost, what was there before is there. */
void copy_put(int fd, const struct agent_frame *frame, bool machine);

/* Sends a file or a tree. Sockets, pipes and devices in a tree are left out and counted; what a
 * kernel file system mounted in it makes up is left out. A file that shrinks below its announced
 * size while it is read ends the copy; one that grows is sent up to that size. */
void copy_get(int fd, const struct agent_frame *frame, bool machine);

#endif
