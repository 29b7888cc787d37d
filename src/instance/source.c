/* SPDX-License-Identifier: Apache-2.0 */
#include "instance/source.h"

#include "base/log.h"
#include "instance/disks.h"
#include "instance/memory_image.h"
#include "instance/trace.h"

static int begin_raw(struct host *host, const char *reference, enum lock_kind lock,
                     const struct source_wish *wish, struct operation *source, struct error *err)
{
    return wish->memory ? memory_begin(host, reference, lock, source, err)
                        : operation_begin(host, reference, lock, source, err);
}

static bool sleeps(const struct operation *source)
{
    return source->record.state == INSTANCE_STANDBY || source->record.state == INSTANCE_STOPPED;
}

/* What was written to its disks is sealed, which takes the source for writing. */
static int freeze(struct host *host, const char *reference, struct error *err)
{
    _cleanup_(operation) struct operation source = OPERATION_NONE;
    int r = operation_begin(host, reference, LOCK_EXCLUSIVE, &source, err);
    return r < 0 || !sleeps(&source) ? r : disks_freeze(&source, err);
}

static int begin(struct host *host, const char *reference, enum lock_kind lock,
                 const struct source_wish *wish, struct operation *source, struct error *err)
{
    for (;;) {
        int r = begin_raw(host, reference, lock, wish, source, err);
        if (r < 0 || source->hold.joined || !sleeps(source))
            return r;
        r = disks_need_freeze(source, err);
        if (r == 0)
            return 0;
        operation_end(source);
        if (r > 0)
            r = freeze(host, reference, err);
        if (r < 0)
            return r;
    }
}

/* In a nap that is none: the source runs, and what there is to be forked is not what is wanted. */
static bool is_of_no_use(const struct operation *source, const struct source_wish *wish)
{
    return source->hold.nap && !wish->live;
}

/* A Running source is held for writing from its standby to its restore: nobody can stop or delete
 * it in between. One that sleeps anyway is held for reading. */
static int take(struct host *host, const char *reference, const struct source_wish *wish,
                struct operation *source, struct error *err)
{
    enum lock_kind kind = wish->running ? LOCK_NAP : LOCK_SHARED;
    for (;;) {
        int r = begin(host, reference, kind, wish, source, err);
        if (r == 0 && is_of_no_use(source, wish)) {
            operation_end(source);
            kind = LOCK_EXCLUSIVE;
            continue;
        }
        if (r < 0 || !source->hold.writing || source->record.state == INSTANCE_RUNNING)
            return r;
        operation_end(source);
        r = begin(host, reference, LOCK_SHARED, wish, source, err);
        if (r < 0 || source->record.state != INSTANCE_RUNNING)
            return r;
        operation_end(source); /* woken in between */
    }
}

int source_begin(struct host *host, const char *reference, const struct source_wish *wish,
                 struct operation *source, struct error *err)
{
    int r = take(host, reference, wish, source, err);
    if (r == 0)
        r = transition_check(wish->kind, &source->record, err);
    return r < 0 ? r : 0;
}

enum instance_state source_state(const struct operation *source)
{
    return source->hold.joined ? INSTANCE_RUNNING : source->record.state;
}

static int wake(struct operation *source, int made, struct error *err)
{
    struct error cause = {0};
    int r = traced(source, "restore", restore_locked, &cause);
    if (r == 0)
        return made;
    const struct instance_record *record = &source->record;
    if (made == 0)
        return error_set(err, cause.code, cause.errnum,
                         "%s could not be woken again and is now %s: %s", record->name,
                         instance_state_name(record->state), cause.message);
    log_error("instance %s stays in standby: %s", record->id, cause.message);
    return made;
}

const struct live *source_live(const struct operation *source)
{
    return source->hold.nap;
}

/* With a template the source runs on. */
static int link_in_nap(struct operation *source, const struct live *live,
                       int (*make)(struct operation *source, void *context, struct error *err),
                       void *context, struct error *err)
{
    lock_nap_open(&source->hold, live);
    int r = make(source, context, err);
    lock_nap_close(&source->hold);
    return r;
}

static int link_asleep(struct operation *source, struct operation *asker,
                       int (*make)(struct operation *source, void *context, struct error *err),
                       void *context, struct error *err)
{
    trace_phase(asker, "standby");
    int r = traced(source, "standby", standby_locked, err);
    if (r < 0)
        return r;
    r = disks_freeze(source, err);
    if (r == 0)
        r = link_in_nap(source, NULL, make, context, err);
    trace_phase(asker, "wake");
    return wake(source, r, err);
}

int source_link(struct operation *source, const struct source_wish *wish, struct operation *asker,
                int (*make)(struct operation *source, void *context, struct error *err),
                void *context, struct error *err)
{
    _cleanup_(live) struct live live = LIVE_NONE;
    if (source->record.state != INSTANCE_RUNNING || source->hold.joined)
        return make(source, context, err);
    if (!wish->live)
        return link_asleep(source, asker, make, context, err);
    struct error cause = {0};
    trace_phase(asker, "template");
    int r = live_begin(source, &live, &cause);
    if (r == 0)
        return link_in_nap(source, &live, make, context, err);
    if (cause.code == ERROR_UNSUPPORTED)
        return link_asleep(source, asker, make, context, err);
    if (err)
        *err = cause;
    return r;
}
