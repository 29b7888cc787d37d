/* SPDX-License-Identifier: Apache-2.0 */
/* Inside the room: the pools of what is kept warm (warm.h), one per source, and the thread that
 * tends them. It makes one thing at a time, so that many forks at once are not slowed by what
 * follows them, and holds no lock but a source's, for reading, while that is linked. */
#ifndef TINE_INSTANCE_WARM_POOLS_H
#define TINE_INSTANCE_WARM_POOLS_H

#include "instance/hot.h"

struct warm;

/* With a pool for each wish in the database. */
struct warm *warm_start(struct host *host, const struct warm_options *options, struct error *err);
/* Ends everything that nobody has taken. NULL is nothing. */
void warm_stop(struct warm *warm);
/* Nothing is made any more. True while something is being made. */
bool warm_quiesce(struct warm *warm);

/* Writes the wish and follows it. The source is held. */
int warm_want(struct warm *warm, const struct warm_source *source, unsigned ready,
              struct error *err);
/* Until nothing is left of a source that is not wanted. No lock is held. */
void warm_wait_end(struct warm *warm, const char *id);
/* Whoever held the source for writing lets go of it: it may have another image, or none. */
void warm_poke(struct warm *warm, const char *id);

/* A fork of the image that `from` sleeps with, which is held: it is the caller's. NULL: none is
 * ready. */
struct parked *warm_take(struct warm *warm, const struct owner *from);

/* All zero if it is not kept warm. */
void warm_look(struct warm *warm, const char *id, struct warm_status *status);

struct warm_sums {
    unsigned wanted, ready;
    uint64_t pinned_bytes;
};
struct warm_sums warm_sum(struct warm *warm);

#endif
