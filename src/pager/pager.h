/* SPDX-License-Identifier: Apache-2.0 */
/* tine-pager as a whole: its sessions, its worker threads, what they share. Everything here is
 * called on the control thread, the one of the loop. */
#ifndef TINE_PAGER_PAGER_H
#define TINE_PAGER_PAGER_H

#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

#include "base/error.h"
#include "base/loop.h"
#include "pager/session.h"
#include "pager/stack_source.h"

#define PAGER_MAX_SESSIONS 1024u

struct pager;

struct pager_config {
    const char *version; /* borrowed */
    struct session_block_versions versions;
    unsigned threads;     /* that answer faults */
    uint64_t cache_bytes; /* of decoded pages, at most */
    struct loop *loop;    /* borrowed */
};

/* Threads are started. */
struct pager *pager_create(const struct pager_config *config, struct error *err);
/* Gives up all sessions as they are: the creators' duplicates keep their VMs waiting. */
void pager_destroy(struct pager *pager);

const char *pager_version(const struct pager *pager);
/* Of the shared states that it can take over. */
struct session_block_versions pager_state_versions(const struct pager *pager);
unsigned pager_threads(const struct pager *pager);
/* No new sessions from now on; the loop ends when no session needs the pager any more. */
void pager_drain(struct pager *pager);
bool pager_draining(const struct pager *pager);
void pager_cache_count(const struct pager *pager, struct chunk_counts *counts);

struct pager_overlay {
    char *file; /* in the directory: the page's 4096 bytes */
    uint64_t page;
};

struct pager_session_request {
    char *id, *directory, *cache_key;
    char *layers[STACK_SOURCE_FILES]; /* their names in the directory, lowest first */
    unsigned layer_count;
    char *compression;      /* of the lowest: "zstd" or "lz4"; NULL: it is raw */
    char *handshake_socket; /* NULL with a session that is taken over */
    char *record;           /* its name there; NULL: none is read or written */
    uint32_t peer_uid;
    uint32_t handshake_timeout_ms;
    uint32_t record_ms; /* how long first touches are recorded; 0: not at all */
    struct pager_overlay overlays[SESSION_MAX_OVERLAYS];
    uint32_t overlay_count;
    /* What came with the request; those that are kept are taken (-1). */
    int keeper_fd;      /* a socket that gets the session's descriptors when its VM is there */
    int uffd, state_fd; /* of a session that is taken over; else -1 */
};

int pager_session_create(struct pager *pager, struct pager_session_request *request,
                         struct error *err);
/* NULL and ERROR_NOT_FOUND. */
struct session *pager_session_find(struct pager *pager, const char *id, struct error *err);
/* Calls `visit` for each session, its worker's lock held. */
void pager_sessions_visit(struct pager *pager, void (*visit)(struct session *, void *), void *data);
/* The same for one. */
void pager_session_visit(struct session *session, void (*visit)(struct session *, void *),
                         void *data);
/* `bandwidth` in bytes per second, 0: unlimited. ERROR_STATE unless a VM is served. */
int pager_session_complete(struct session *session, uint64_t bandwidth, struct error *err);
/* Ends it. While its VM lives and needs it that is ERROR_STATE, unless it is to be detached: the VM
 * then waits at its next fault for the next pager. */
int pager_session_delete(struct pager *pager, struct session *session, bool detach,
                         struct error *err);
/* Fresh duplicates of the userfaultfd and the shared state, in this order (owner: caller).
 * ERROR_STATE if no VM has come yet. */
int pager_session_descriptors(struct session *session, int fds[2], struct error *err);

#endif
