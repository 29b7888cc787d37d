/* SPDX-License-Identifier: Apache-2.0 */
#include "instance/lifetime.h"

#include <errno.h>
#include <stdio.h>

#include "base/clock.h"

int lifetime_begin(struct instance_record *record, const struct instance_lifetime *lifetime,
                   uint64_t now_ns, struct error *err)
{
    uint64_t at = lifetime->expires_at_ns;
    if (lifetime->ttl_ns > 0 && at > 0)
        return error_set(err, ERROR_INVALID, EINVAL, "ttl and expires_at exclude each other");
    if (lifetime->ttl_ns > 0 && __builtin_add_overflow(now_ns, lifetime->ttl_ns, &at))
        at = UINT64_MAX;
    if (at > INT64_MAX)
        return error_set(err, ERROR_INVALID, EINVAL, "it can't expire after the year 2262");
    record->ttl_ns = lifetime->ttl_ns;
    record->expires_at_ns = at;
    return 0;
}

void lifetime_inherit(struct instance_record *record)
{
    const struct instance_lifetime lifetime = {.ttl_ns = record->ttl_ns};
    if (record->ttl_ns > 0 && lifetime_begin(record, &lifetime, record->created_at_ns, NULL) < 0)
        record->expires_at_ns = INT64_MAX;
}

bool lifetime_is_over(const struct instance_record *record)
{
    return record->expires_at_ns > 0 && record->expires_at_ns <= time_realtime_ns();
}

void lifetime_note(const struct instance_record *record, char note[LIFETIME_NOTE])
{
    char when[32];
    time_format_rfc3339(record->expires_at_ns, when);
    snprintf(note, LIFETIME_NOTE, "expired at %s", when);
}
