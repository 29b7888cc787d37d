/* SPDX-License-Identifier: Apache-2.0 */
/* tined's claim on its unix socket's path: the socket of a dead tined is replaced, that of a live
 * one refused. Claims are serialised by a lock on the directory, so two starting at once can't
 * both win. */
#ifndef TINE_API_LISTEN_H
#define TINE_API_LISTEN_H

#include <sys/types.h>

#include "base/error.h"

struct listen_claim {
    const char *path;
    dev_t device;
    ino_t inode;
};

/* Makes the directory, binds (mode 0600) and listens. Returns the descriptor. -EADDRINUSE: another
 * process answers there, or the path is something else than a socket. Single-threaded callers only:
 * it sets the umask for a moment. `path` is borrowed. */
int listen_claim(struct listen_claim *claim, const char *path, struct error *err);

/* Removes the socket if it is still the one that was claimed. */
void listen_release(const struct listen_claim *claim);

#endif
