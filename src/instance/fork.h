/* SPDX-License-Identifier: Apache-2.0 */
/* Inside the room: a new instance made of somebody's files, whether the fork of an instance or of a
 * snapshot. */
#ifndef TINE_INSTANCE_FORK_H
#define TINE_INSTANCE_FORK_H

#include "instance/live.h"
#include "instance/owner.h"
#include "instance/trace.h"

/* What is asked for, and what it is made of. */
struct fork {
    const struct instance_fork_request *request;
    enum instance_state target;
    bool with_memory; /* the source has a snapshot and the fork wants it */
    bool live;        /* it has a VM already (live.h) */
    bool reserved;    /* there is a row: a failure has something to remove */
    struct trace trace;
};

/* ERROR_INVALID names the part of the request that is wrong. */
int fork_check(const struct instance_fork_request *request, struct error *err);
/* It is allowed: from here on it is an operation, until fork_finish(). `waited_ns`: for the
 * source's lock. */
void fork_begin(struct operation *op, struct fork *fork, uint64_t waited_ns, const char *source);
/* Its birth: from the name on, the fork exists for others, in the state its files say, or Paused
 * with `live`. `from` owns the files and is held for reading; `source` is what the fork inherits.
 */
int fork_make(const struct owner *from, const struct instance_record *source,
              const struct live *live, struct operation *op, struct fork *fork, struct error *err);
/* From the state that it was made in to its target. */
int fork_reach_target(struct operation *op, const struct fork *fork, struct error *err);
/* The end of every fork, given how far it came: brings it to its target and fills `record` (may be
 * NULL), or removes it whole. */
int fork_finish(struct operation *op, struct fork *fork, int r, struct instance_record *record,
                struct error *err);

#endif
