/* SPDX-License-Identifier: Apache-2.0 */
/* Does to instances what is due at a time, by itself, in a thread of its own. The deadlines are in
 * the rows and are times of the wall clock: one that passed while no tined ran counts at the next
 * start, and a clock that is set counts at once. The thread sleeps until the earliest of them.
 *
 * What an operation holds is tried again soon, and after some time waited for; what fails is tried
 * again, less and less often, for as long as the row has the deadline. */
#ifndef TINE_INSTANCE_DUE_H
#define TINE_INSTANCE_DUE_H

#include "instance/host.h"

struct due_kind {
    const char *name; /* "expiry", for messages */
    enum store_deadline deadline;
    /* On an instance that is held for writing, without its directory: whether its time has come is
     * for `run` to see. 0: it is dealt with, and the row has no such deadline any more, or another;
     * else it comes again. */
    int (*run)(struct operation *op, struct error *err);
};

struct due *due_start(struct host *host, const struct due_kind *kind, struct error *err);
/* What is under way is finished. NULL is nothing. */
void due_stop(struct due *due);
/* Nothing is begun from now on. True while something is under way. */
bool due_quiesce(struct due *due);
/* A deadline in a row has changed. NULL is nothing: it has not begun. */
void due_poke(struct due *due);

#endif
