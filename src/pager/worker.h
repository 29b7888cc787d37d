/* SPDX-License-Identifier: Apache-2.0 */
/* One thread that answers the faults of its sessions, and fills pages in the background while there
 * is none. Its lock guards all its sessions; it is held while something is served, never while the
 * thread waits. */
#ifndef TINE_PAGER_WORKER_H
#define TINE_PAGER_WORKER_H

#include <stdbool.h>

#include "pager/session.h"

#define WORKER_MAX_SESSIONS 1024u

struct crew;
struct crew_piece;
struct worker;

/* `crew` (borrowed) is whom it helps and is helped by. */
struct worker *worker_start(struct crew *crew, struct error *err);
/* Ends the thread. Its sessions were detached before. */
void worker_stop(struct worker *worker);

/* For any other thread: the worker lets it in before its next turn. */
void worker_lock(struct worker *worker);
void worker_unlock(struct worker *worker);

/* With the lock held: from now on the session (borrowed) is served; until it is detached.
 * ERROR_RESOURCES if there is no place. */
int worker_attach(struct worker *worker, struct session *session, struct error *err);
void worker_detach(struct session *session);
/* Makes the thread look at its sessions' background work. */
void worker_kick(struct worker *worker);
/* Fills pieces with the help of other workers, see crew_fill(). */
void worker_fill(const struct worker *worker, int uffd, struct crew_piece *pieces, unsigned count);
/* How many sessions it has. */
unsigned worker_load(const struct worker *worker);

#endif
