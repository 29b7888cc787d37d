/* SPDX-License-Identifier: Apache-2.0 */
/* What happened lately: a ring of events that many may read and nobody waits for. All functions are
 * safe from any thread. */
#ifndef TINE_EVENTS_EVENTS_H
#define TINE_EVENTS_EVENTS_H

#include <stddef.h>
#include <stdint.h>

#include "base/error.h"

/* Texts that do not fit are cut. */
struct event {
    uint64_t sequence; /* counts from 1; set by events_add() */
    uint64_t time_ns;  /* realtime; set by events_add() */
    char instance_id[25], instance_name[64];
    char kind[24];         /* "standby", "vmm-ended", ... */
    char state[16];        /* of the instance afterwards; empty: it is gone */
    char operation_id[17]; /* empty: nobody asked for it */
    char result[16];       /* of an operation: "ok", or the kind of its error; else empty */
    char message[256];     /* for people; may be empty */
};

struct events;

/* A ring that holds the last `capacity` events. */
struct events *events_new(size_t capacity, struct error *err);
/* No reader may be left. */
void events_free(struct events *events);
/* Takes the place of the oldest when the ring is full. */
void events_add(struct events *events, const struct event *event);

struct events_reader {
    struct events *events;
    uint64_t next; /* sequence */
};

#define EVENTS_FROM_NOW UINT64_MAX
/* A reader of the events that the ring holds and that are not older than `since_ns` (realtime), and
 * of all later ones. */
struct events_reader events_read(struct events *events, uint64_t since_ns);
/* 1: the next event; 0: there is none yet; -EOVERFLOW: the reader was too slow and `*lost` events
 * that it did not read are gone. */
int events_next(struct events_reader *reader, struct event *event, uint64_t *lost);

#endif
