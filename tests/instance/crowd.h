/* SPDX-License-Identifier: Apache-2.0 */
/* Threads that do one operation each, at the same time, and what came of it. */
#ifndef TINE_TESTS_INSTANCE_CROWD_H
#define TINE_TESTS_INSTANCE_CROWD_H

#include <pthread.h>

#include "fixture.h"

struct actor {
    struct fixture *fixture;
    int (*run)(struct actor *actor, struct error *err);
    const char *source; /* an instance, or the id of a snapshot */
    char name[32];      /* of what is made */
    bool from_running;
    enum instance_state target;      /* of a fork; Created: none is asked for */
    pthread_t thread;                /* from here on: what came of it */
    struct instance_record record;   /* the fork */
    struct snapshot_record snapshot; /* the snapshot */
    struct error err;
    int result;
};

/* What they may run: a fork of an instance, a Standby snapshot of one, a fork of a snapshot. */
int actor_fork(struct actor *actor, struct error *err);
int actor_snapshot(struct actor *actor, struct error *err);
int actor_fork_snapshot(struct actor *actor, struct error *err);

void actor_start(struct actor *actor);
/* Returns its result. */
int actor_join(struct actor *actor);

/* Each as `example` says, with a name of its own: "fork-0", "fork-1", ... */
void crowd_fill(struct actor *actors, int count, const struct actor *example);
void crowd_start(struct actor *actors, int count);
/* The same; they wait for the instance `source`, and are let go when all are there. */
void crowd_start_together(struct actor *actors, int count, const struct instance_record *source);
/* Ends them; each succeeded. */
void crowd_join(struct actor *actors, int count);

/* Opens the host anew, with a driver in which `count` restores wait for each other: what comes in
 * between works only if they really run at once. */
void crowd_meet(struct fixture *fixture, unsigned count);
void crowd_part(void);

#endif
