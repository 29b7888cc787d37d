/* SPDX-License-Identifier: Apache-2.0 */
/* GET /events: what happened and what happens, one server-sent event each. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "api/event_stream.h"
#include "api/json_text.h"
#include "api/query.h"
#include "api/routes.h"
#include "base/clock.h"
#include "base/duration.h"
#include "events/events.h"

struct follower {
    struct events_reader reader;
    bool follow, dropped;
};

static json_t *text_or_null(const char *text)
{
    return *text ? json_text(text, strlen(text)) : json_null();
}

static json_t *event_json(const struct event *event)
{
    char time[32];
    time_format_rfc3339(event->time_ns, time);
    return json_pack("{s:s, s:o, s:o, s:s, s:o, s:o, s:o, s:o}", "time", time, "instance_id",
                     text_or_null(event->instance_id), "instance_name",
                     text_or_null(event->instance_name), "kind", event->kind, "state",
                     text_or_null(event->state), "operation_id", text_or_null(event->operation_id),
                     "result", text_or_null(event->result), "message",
                     json_text(event->message, strlen(event->message)));
}

/* Nobody waits for a slow reader: it is told, and has to come again. */
static json_t *dropped_json(uint64_t lost)
{
    struct event event = {.time_ns = time_realtime_ns(), .kind = "dropped"};
    snprintf(event.message, sizeof(event.message),
             "%llu events are lost: they were read too slowly", (unsigned long long)lost);
    return event_json(&event);
}

static int follower_next(void *data, json_t **value)
{
    struct follower *follower = data;
    struct event event;
    uint64_t lost = 0;
    if (follower->dropped)
        return -ENODATA;
    int r = events_next(&follower->reader, &event, &lost);
    follower->dropped = r < 0;
    if (r == 0)
        return follower->follow ? 0 : -ENODATA;
    *value = r < 0 ? dropped_json(lost) : event_json(&event);
    return *value ? 1 : -ENOMEM;
}

/* Without `since`: all there is, or with follow only what is to come. */
static uint64_t since_read(const struct uri *uri, bool follow, struct problem *problem)
{
    const char *text = uri_query(uri, "since");
    struct error err = {0};
    int64_t ago = 0;
    if (!text)
        return follow ? EVENTS_FROM_NOW : 0;
    if (duration_parse(text, &ago, &err) < 0)
        problem_set(problem, 400, PROBLEM_BAD_REQUEST, "since: %s", err.message);
    else if (ago < 0)
        problem_set(problem, 400, PROBLEM_BAD_REQUEST, "since: must not be negative");
    uint64_t now = time_realtime_ns();
    return (uint64_t)ago < now ? now - (uint64_t)ago : 0;
}

enum MHD_Result events_stream(struct request *request)
{
    struct problem problem = {0};
    bool follow = false;
    query_bool(&request->uri, "follow", &follow, &problem);
    uint64_t since = since_read(&request->uri, follow, &problem);
    if (problem.status != 0)
        return reply_problem(request, &problem);
    struct follower *follower = calloc(1, sizeof(*follower));
    if (!follower)
        return MHD_NO;
    follower->follow = follow;
    follower->reader = events_read(host_events(request->server->host), since);
    return reply_event_stream(request, &(struct event_source){follower_next, free, follower});
}
