/* SPDX-License-Identifier: Apache-2.0 */
/* A VM introduces itself as Firecracker does: it connects to a socket and sends, in one message,
 * its memory regions as JSON text and its userfaultfd; nothing is answered. Everything about the
 * peer is hostile. Runs on the control thread's loop. */
#ifndef TINE_PAGER_HANDSHAKE_H
#define TINE_PAGER_HANDSHAKE_H

#include <stdint.h>
#include <sys/types.h>

#include "base/error.h"
#include "base/loop.h"
#include "pager/regions.h"

#define HANDSHAKE_TIMEOUT_MS 5000u

struct handshake;

struct handshake_peer {
    int uffd, socket; /* owner: whoever takes them with TAKE_FD() */
    pid_t pid;
    uid_t uid;
    struct region_table regions; /* parsed, not yet checked against the image */
};

struct handshake_config {
    const char *path;    /* of the socket; an existing file is an error; borrowed */
    uid_t uid;           /* who may connect; others are turned away and change nothing */
    unsigned timeout_ms; /* from a connection to its last byte */
    /* Called once, with `peer` or with what went wrong; it may destroy the handshake. */
    void (*done)(void *context, struct handshake_peer *peer, const struct error *err);
    void *context;
};

/* Binds and listens. */
struct handshake *handshake_create(const struct handshake_config *config, struct loop *loop,
                                   struct error *err);
/* Closes, and unlinks the socket. */
void handshake_destroy(struct handshake *handshake);
/* Ends the wait for a peer that has connected and is too slow. */
void handshake_tick(struct handshake *handshake, uint64_t now_ns);

#endif
