/* SPDX-License-Identifier: Apache-2.0 */
/* Filling pages that nobody waits for yet, in slices of some microseconds between the faults: what
 * a stream of faults is going to need, what a record says will be needed, and, for a session that
 * is to be completed, all that is left. Runs on the worker's thread, under its lock. */
#ifndef TINE_PAGER_BACKGROUND_H
#define TINE_PAGER_BACKGROUND_H

#include <stdint.h>

#include "pager/session.h"

/* Begins to fill what the record names (borrowed until the session is gone). */
void background_prefetch(struct session *session, const struct touch_record *record);
/* Plans pages that a stream of faults is going to need; they are cut at the end of the region. */
void background_ahead(struct session *session, uint64_t page, uint64_t end);
/* Begins to fill everything, at most `bandwidth` bytes per second (0: unlimited); then the VM is
 * let go. Asking again only changes the bandwidth. */
void background_complete(struct session *session, uint64_t bandwidth);

/* When the next slice is due (CLOCK_MONOTONIC), UINT64_MAX if there is none. */
uint64_t background_due(const struct session *session);
/* Does one slice if it is due. */
void background_slice(struct session *session, uint64_t now_ns);

#endif
