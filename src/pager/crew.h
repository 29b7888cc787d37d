/* SPDX-License-Identifier: Apache-2.0 */
/* Workers that have nothing to do help another one with a large fill: copying is what takes the
 * time, and one thread copies only so fast. */
#ifndef TINE_PAGER_CREW_H
#define TINE_PAGER_CREW_H

#include <stdbool.h>
#include <stdint.h>

#include "pager/uffd.h"

/* One call's worth of pages. */
struct crew_piece {
    uint64_t address, length;
    const void *from; /* NULL: zeros */
    struct uffd_result result;
};

struct crew;

struct crew *crew_create(void);
void crew_destroy(struct crew *crew);

/* A worker that can be called by its eventfd (borrowed); its number, or -1 if there are too many:
 * such a one only helps itself. */
int crew_join(struct crew *crew, int event_fd);
/* The calling thread is that worker's. */
void crew_set_thread(struct crew *crew, int member);
/* The worker is about to wait, or has stopped waiting. */
void crew_set_idle(struct crew *crew, int member, bool idle);

/* A worker with sessions of its own helps where the kernel lets it run; one without is kept off the
 * CPU of whom it helps. */
void crew_set_serving(struct crew *crew, int member, bool serving);

/* What sources fetch arrives: from any thread. Wakes the workers that await something. */
void crew_arrived(struct crew *crew);
/* How often that was so. */
uint64_t crew_arrivals(const struct crew *crew);
/* The worker, which has found something missing since it asked for `arrivals`, is called when the
 * next thing arrives; false: that was so already. */
bool crew_await(struct crew *crew, int member, uint64_t arrivals);

/* Fills every piece, none of which wakes who waits there; returns when all are done, by whomever.
 * `member` is the caller. */
void crew_fill(struct crew *crew, int member, int uffd, struct crew_piece *pieces, unsigned count);
/* Takes part in what others have begun; false if there was nothing to do. */
bool crew_help(struct crew *crew);

#endif
