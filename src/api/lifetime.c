/* SPDX-License-Identifier: Apache-2.0 */
#include "api/lifetime.h"

#include "base/clock.h"
#include "base/duration.h"

static void ttl_read(const struct fields *fields, const char *ttl, uint64_t *ttl_ns)
{
    struct error err = {0};
    int64_t nanoseconds = 0;
    if (duration_parse(ttl, &nanoseconds, &err) < 0)
        problem_set(fields->problem, 400, "invalid_ttl", "ttl: %s", err.message);
    if (nanoseconds < 0)
        problem_set(fields->problem, 400, "invalid_ttl", "ttl: must not be negative");
    if (nanoseconds > INT64_MAX - (int64_t)time_realtime_ns())
        problem_set(fields->problem, 400, "invalid_ttl", "ttl: \"%.64s\" goes beyond the year 2262",
                    ttl);
    *ttl_ns = (uint64_t)nanoseconds;
}

static void expires_at_read(const struct fields *fields, const char *expires_at, uint64_t *at_ns)
{
    struct error err = {0};
    if (time_parse_rfc3339(expires_at, at_ns, &err) < 0)
        problem_set(fields->problem, 400, "invalid_expires_at", "expires_at: %s", err.message);
    else if (*at_ns <= time_realtime_ns())
        problem_set(fields->problem, 400, "invalid_expires_at", "expires_at: \"%.64s\" is past",
                    expires_at);
}

bool lifetime_read(const struct fields *fields, struct instance_lifetime *lifetime)
{
    const char *ttl = NULL, *expires_at = NULL;
    fields_string(fields, "ttl", &ttl);
    fields_string(fields, "expires_at", &expires_at);
    if (ttl && expires_at)
        problem_set(fields->problem, 400, "invalid_request",
                    "ttl and expires_at exclude each other");
    if (ttl)
        ttl_read(fields, ttl, &lifetime->ttl_ns);
    if (expires_at)
        expires_at_read(fields, expires_at, &lifetime->expires_at_ns);
    return ttl || expires_at;
}
