/* SPDX-License-Identifier: Apache-2.0 */
#include "instance/restart.h"

#include <stdio.h>
#include <string.h>

#include "base/clock.h"
#include "base/log.h"
#include "instance/lifetime.h"
#include "instance/trace.h"

#define BACKOFF_MAX_NS 300000000000ull /* unless the policy's own is longer */
#define DOUBLINGS_MAX  16u

void restart_reset(struct instance_record *record)
{
    record->restart_attempts = 0;
    record->restart_last_ns = record->restart_next_ns = 0;
    record->restart_blocked[0] = '\0';
}

void restart_forbid(struct instance_record *record)
{
    const struct restart_policy policy = policies_restart(record->policies);
    restart_reset(record);
    if (policy.when != RESTART_NEVER)
        snprintf(record->restart_blocked, sizeof(record->restart_blocked), RESTART_MANUAL_STOP);
}

static uint64_t backoff(const struct restart_policy *policy, unsigned attempts)
{
    uint64_t longest = policy->backoff_ns > BACKOFF_MAX_NS ? policy->backoff_ns : BACKOFF_MAX_NS;
    uint64_t pause = policy->backoff_ns;
    for (unsigned i = 0; i < attempts && i < DOUBLINGS_MAX && pause < longest; i++)
        pause *= 2;
    return pause < longest ? pause : longest;
}

static bool was_stable(const struct instance_record *record, const struct restart_policy *policy,
                       uint64_t now)
{
    return record->started_at_ns <= now && now - record->started_at_ns >= policy->stable_after_ns;
}

static void plan_attempt(struct instance_record *record, const struct restart_policy *policy,
                         uint64_t now)
{
    if (policy->max_attempts > 0 && record->restart_attempts >= policy->max_attempts) {
        record->restart_next_ns = 0;
        snprintf(record->restart_blocked, sizeof(record->restart_blocked), RESTART_EXHAUSTED);
        log_warning("instance %s (%s): not started again after %u attempts", record->id,
                    record->name, record->restart_attempts);
        return;
    }
    uint64_t pause = backoff(policy, record->restart_attempts);
    record->restart_next_ns = pause < INT64_MAX - now ? now + pause : INT64_MAX;
}

/* A main program says how it went; without one, a guest that powers itself off meant to. */
static bool has_failed(const struct instance_record *record, const char *why)
{
    return record->has_exit_code ? record->exit_code != 0 : strcmp(why, ENDED_POWERED_OFF) != 0;
}

void restart_plan(struct instance_record *record, const char *why)
{
    const struct restart_policy policy = policies_restart(record->policies);
    uint64_t now = time_realtime_ns();
    bool wanted = policy.when == RESTART_ALWAYS ||
                  (policy.when == RESTART_ON_FAILURE && has_failed(record, why));
    if (!wanted || *record->restart_blocked)
        return;
    if (was_stable(record, &policy, now))
        record->restart_attempts = 0;
    plan_attempt(record, &policy, now);
}

void restart_tell(struct host *host, const struct instance_record *record)
{
    for (size_t i = 0; record->restart_next_ns > 0 && i < ARRAY_SIZE(host->restarts); i++)
        due_poke(host->restarts[i]);
}

static bool is_due(const struct instance_record *record)
{
    return record->state == INSTANCE_STOPPED &&
           policies_restart(record->policies).when != RESTART_NEVER && !lifetime_is_over(record);
}

/* The attempt counts from here on, whatever becomes of it. */
static int begin_attempt(struct operation *op, struct error *err)
{
    op->record.restart_attempts++;
    op->record.restart_last_ns = time_realtime_ns();
    op->record.restart_next_ns = 0;
    int r = store_update(op->host->store, &op->record, err);
    return r < 0 ? r : operation_open_directory(op, err);
}

static int boot(struct operation *op, struct error *err)
{
    struct trace trace;
    trace_begin(&trace, op, "restart");
    snprintf(trace.note, sizeof(trace.note), "attempt %u", op->record.restart_attempts);
    operation_show(op, INSTANCE_CREATED);
    return trace_end(&trace, boot_locked(op, err), err);
}

static int record_plan(struct operation *op, struct error *err)
{
    int r = store_update(op->host->store, &op->record, err);
    if (r < 0)
        log_error("instance %s (%s): record its next start: %s", op->record.id, op->record.name,
                  err->message);
    return r;
}

static int attempt(struct operation *op, struct error *err)
{
    const struct restart_policy policy = policies_restart(op->record.policies);
    int r = begin_attempt(op, err);
    if (r < 0)
        log_error("instance %s (%s): start it again: %s", op->record.id, op->record.name,
                  err->message);
    else
        r = boot(op, err);
    if (r == 0)
        return 0;
    plan_attempt(&op->record, &policy, time_realtime_ns());
    r = record_plan(op, err);
    restart_tell(op->host, &op->record);
    return r;
}

static int restart(struct operation *op, struct error *err)
{
    const struct instance_record *record = &op->record;
    if (record->restart_next_ns == 0 || record->restart_next_ns > time_realtime_ns())
        return 0; /* somebody was faster */
    if (is_due(record))
        return attempt(op, err);
    restart_reset(&op->record);
    return record_plan(op, err);
}

const struct due_kind restart_kind = {"restart", DEADLINE_RESTART, restart};
