/* SPDX-License-Identifier: Apache-2.0 */
/* Connections that the server holds itself: those that have not said yet what they want, and those
 * that had a short answer and were not closed by the host yet. What the host says after a restore
 * is on every fork's way to its first command, and a process made for it would be memory that each
 * fork has for itself; such requests are answered here. All others are for a process. */
#ifndef TINE_AGENT_GUEST_ARRIVALS_H
#define TINE_AGENT_GUEST_ARRIVALS_H

#include <poll.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define ARRIVALS_LIMIT 8

struct arrival {
    int fd;
    uint64_t deadline_ns;
    bool answered;
};

struct arrivals {
    struct arrival list[ARRIVALS_LIMIT];
    size_t count;
};

/* Takes `fd` over; false, and it stays the caller's, if as many as can be are held. */
bool arrivals_add(struct arrivals *arrivals, int fd);
/* What to wait for: `arrivals->count` entries, and until when in milliseconds, -1 for ever. */
int arrivals_poll(const struct arrivals *arrivals, struct pollfd *fds);
/* After poll(2) of these entries. Answers what can be answered at once, and closes what is over.
 * Returns a connection that needs a process, which is the caller's and of which nothing was read,
 * or -1; to be called until it is -1. `machine`: as for a session. */
int arrivals_serve(struct arrivals *arrivals, struct pollfd *fds, bool machine);
/* Closes them all, in a process that is not to hold them. */
void arrivals_drop(struct arrivals *arrivals);

#endif
