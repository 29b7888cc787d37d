/* SPDX-License-Identifier: Apache-2.0 */
#ifndef TINE_PAGER_PAGER_PRIVATE_H
#define TINE_PAGER_PAGER_PRIVATE_H

#include "pager/crew.h"
#include "pager/handshake.h"
#include "pager/pager.h"
#include "pager/record_store.h"
#include "pager/worker.h"

struct pager {
    const char *version;
    struct session_block_versions versions;
    struct loop *loop; /* borrowed */
    struct loop_source timer;
    struct worker **workers;
    unsigned worker_count;
    struct crew *crew; /* all of them */
    struct record_store *records;
    struct chunk_cache *cache;
    struct session *sessions[PAGER_MAX_SESSIONS];
    unsigned session_count;
    bool draining;
};

struct worker *pager_idlest_worker(struct pager *pager);

/* ---- session_life.c ---- */

/* Takes it from its worker and frees all it has; a record that is ready is kept. */
void session_destroy(struct pager *pager, struct session *session);

/* ---- session_record.c ---- */

/* Chooses between filling by a record and making one; before the session is served. */
void session_record_begin(struct pager *pager, struct session *session);
/* Keeps and publishes what was recorded when its time is over or the VM gone. */
void session_record_tick(struct pager *pager, struct session *session, uint64_t now_ns);

#endif
