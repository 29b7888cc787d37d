/* SPDX-License-Identifier: Apache-2.0 */
#include "events/events.h"

#include <errno.h>
#include <pthread.h>
#include <stdlib.h>

#include "base/clock.h"

struct events {
    pthread_mutex_t mutex; /* guards all below; held for one copy of one event at most */
    size_t capacity;
    uint64_t last; /* sequence of the newest event; 0: none yet */
    struct event ring[];
};

struct events *events_new(size_t capacity, struct error *err)
{
    struct events *events = calloc(1, sizeof(*events) + capacity * sizeof(events->ring[0]));
    if (!events) {
        error_errno(err, ENOMEM, NULL, "make room for %zu events", capacity);
        return NULL;
    }
    pthread_mutex_init(&events->mutex, NULL);
    events->capacity = capacity;
    return events;
}

void events_free(struct events *events)
{
    if (!events)
        return;
    pthread_mutex_destroy(&events->mutex);
    free(events);
}

static struct event *slot(struct events *events, uint64_t sequence)
{
    return &events->ring[sequence % events->capacity];
}

void events_add(struct events *events, const struct event *event)
{
    pthread_mutex_lock(&events->mutex);
    uint64_t sequence = ++events->last;
    struct event *place = slot(events, sequence);
    *place = *event;
    place->sequence = sequence;
    place->time_ns = time_realtime_ns();
    pthread_mutex_unlock(&events->mutex);
}

/* With the mutex held: the oldest sequence that is still there, or will be. */
static uint64_t oldest(const struct events *events)
{
    return events->last > events->capacity ? events->last - events->capacity + 1 : 1;
}

struct events_reader events_read(struct events *events, uint64_t since_ns)
{
    pthread_mutex_lock(&events->mutex);
    uint64_t next = oldest(events);
    while (next <= events->last && slot(events, next)->time_ns < since_ns)
        next++;
    pthread_mutex_unlock(&events->mutex);
    return (struct events_reader){.events = events, .next = next};
}

int events_next(struct events_reader *reader, struct event *event, uint64_t *lost)
{
    struct events *events = reader->events;
    pthread_mutex_lock(&events->mutex);
    uint64_t first = oldest(events);
    int r = reader->next < first ? -EOVERFLOW : reader->next <= events->last;
    if (r < 0)
        *lost = first - reader->next;
    if (r > 0)
        *event = *slot(events, reader->next++);
    pthread_mutex_unlock(&events->mutex);
    return r;
}
