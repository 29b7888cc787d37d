/* SPDX-License-Identifier: Apache-2.0 */
/* Inside the room: an instance whose files are going to be linked, for a fork or for a snapshot of
 * it. One that runs is put to sleep meanwhile; all that wait for it at the same time share that nap
 * (lock.h). */
#ifndef TINE_INSTANCE_SOURCE_H
#define TINE_INSTANCE_SOURCE_H

#include "instance/host.h"
#include "instance/live.h"
#include "instance/transition.h"

struct source_wish {
    enum instance_operation kind; /* what the source's state has to allow */
    bool memory;                  /* its memory image is going to be linked: it is raw meanwhile */
    bool running;                 /* it may run */
    bool live;                    /* it may run on, if its VMM can make a template (live.h) */
};

/* Begins with the source. One that sleeps, in a nap too, is held for reading; one that runs, if it
 * may, for writing. ERROR_STATE if what is wished for can't be made of its state. */
int source_begin(struct host *host, const char *reference, const struct source_wish *wish,
                 struct operation *source, struct error *err);
/* The state it is in for everybody but those who share its nap. */
enum instance_state source_state(const struct operation *source);
/* Runs `make`, which links the files, while the source sleeps; one that ran sleeps only for that,
 * and is woken whatever comes of it. With `live` it may run all the while: then source_live() is
 * what is to be forked, in `make`. `asker` is the operation, begun, that this is a part of; it may
 * be the source. A source that can't be woken again is an error even where `make` succeeded. */
int source_link(struct operation *source, const struct source_wish *wish, struct operation *asker,
                int (*make)(struct operation *source, void *context, struct error *err),
                void *context, struct error *err);

/* The template of a source that runs; NULL: its files are to be linked. */
const struct live *source_live(const struct operation *source);

#endif
