/* SPDX-License-Identifier: Apache-2.0 */
/* The double's changes of state: start, stop, standby, restore. */
#include <errno.h>
#include <pthread.h>

#include "base/clock.h"
#include "double.h"
#include "image/program.h"
#include "instance/instance.h"
#include "policy/policy.h"

const struct stack_compression *double_compression(const struct host *host,
                                                   const struct snapshot_policy *policy)
{
    if (policy->has_compression)
        return policy->compress ? &policy->how : NULL;
    return host->has_compression ? &host->compression : NULL;
}

static const char *change_name(enum instance_state to)
{
    return to == INSTANCE_RUNNING ? "start" : to == INSTANCE_STANDBY ? "standby" : "stop";
}

int double_change(struct host *host, const char *reference, unsigned from, enum instance_state to,
                  struct instance_record *record, struct error *err)
{
    struct error own = {0};
    pthread_mutex_lock(&host->lock);
    struct entry *entry = double_resolve(host, reference, &own);
    int r = entry ? 0 : -own.errnum;
    bool nothing_to_do =
        entry && (entry->record.state == to ||
                  (to == INSTANCE_RUNNING && entry->record.state == INSTANCE_INITIALIZING));
    if (nothing_to_do && record)
        *record = entry->record;
    if (entry && !nothing_to_do && (from & 1u << entry->record.state) == 0)
        r = error_set(&own, ERROR_STATE, EBUSY, "%s is %s, which does not allow this",
                      entry->record.name, instance_state_name(entry->record.state));
    if (entry && r == 0 && !nothing_to_do) {
        entry->record.state = to;
        entry->record.vmm_pid = to == INSTANCE_RUNNING ? 4242 : 0;
        if (to == INSTANCE_STOPPED && begins(entry->record.name, "again-"))
            entry->record.restart_next_ns = time_realtime_ns();
        double_tell(host, &entry->record, change_name(to), NULL);
        if (record)
            *record = entry->record;
    }
    pthread_mutex_unlock(&host->lock);
    if (r < 0 && err)
        *err = own;
    return r;
}

static int check_stopped(struct host *host, const char *reference, struct error *err)
{
    struct instance_record record;
    int r = instance_get(host, reference, &record, err);
    if (r == 0 && record.state != INSTANCE_STOPPED)
        r = error_set(err, ERROR_STATE, EBUSY, "cannot start %s with another program: it is %s",
                      record.name, instance_state_name(record.state));
    return r;
}

int instance_start_with(struct host *host, const char *reference,
                        const struct program_request *program, struct instance_record *record,
                        struct error *err)
{
    int r = program->entrypoint || program->cmd ? check_stopped(host, reference, err) : 0;
    if (r == 0)
        r = double_change(host, reference, 1u << INSTANCE_STOPPED, INSTANCE_RUNNING, record, err);
    if (r < 0)
        return r;
    pthread_mutex_lock(&host->lock);
    struct entry *entry = double_resolve(host, reference, err);
    r = entry ? program_set(&entry->record.program, program, err) : -err->errnum;
    if (r == 0) {
        double_program_outcome(&entry->record);
        *record = entry->record;
    }
    pthread_mutex_unlock(&host->lock);
    return r;
}

int instance_start(struct host *host, const char *reference, struct instance_record *record,
                   struct error *err)
{
    return instance_start_with(host, reference, &(struct program_request){.cmd = NULL}, record,
                               err);
}

int instance_stop(struct host *host, const char *reference, unsigned grace_ms,
                  struct instance_record *record, struct error *err)
{
    return double_change(host, reference, 1u << INSTANCE_RUNNING | 1u << INSTANCE_INITIALIZING,
                         INSTANCE_STOPPED, record, err);
}

int instance_standby(struct host *host, const char *reference, struct instance_record *record,
                     struct error *err)
{
    const struct standby_options none = {.has_compression = false};
    struct instance_record changed = {0};
    int r = instance_get(host, reference, &changed, err);
    if (r < 0)
        return r;
    if (changed.state != INSTANCE_STANDBY)
        return instance_standby_with(host, reference, &none, record, err);
    if (record)
        *record = changed;
    return 0;
}

/* What is compressed is so at once, to a hundredth. */
int instance_standby_with(struct host *host, const char *reference,
                          const struct standby_options *options, struct instance_record *record,
                          struct error *err)
{
    struct instance_record changed = {0};
    int r = instance_get(host, reference, &changed, err);
    if (r == 0 && changed.state == INSTANCE_STANDBY)
        return error_set(err, ERROR_STATE, EBUSY, "%s is Standby already, options come too late",
                         changed.name);
    r = double_change(host, reference, 1u << INSTANCE_RUNNING, INSTANCE_STANDBY, &changed, err);
    if (r < 0)
        return r;
    const struct snapshot_policy policy = policies_snapshot(changed.policies);
    const struct stack_compression *how = double_compression(host, &policy);
    if (options->has_compression)
        how = options->compression;
    uint64_t delay_ns =
        options->has_delay ? options->compression_delay_ns : policy.standby_compression_delay_ns;
    pthread_mutex_lock(&host->lock);
    struct instance_record *kept = &double_resolve(host, changed.id, err)->record;
    if (how)
        stack_compression_format(how, kept->compression);
    kept->compression_status =
        (struct compression_status){.state = delay_ns || !how ? COMPRESSION_NONE : COMPRESSION_DONE,
                                    .compressed_size = kept->memory_bytes / 100};
    if (record)
        *record = *kept;
    pthread_mutex_unlock(&host->lock);
    return 0;
}

int instance_restore(struct host *host, const char *reference, struct instance_record *record,
                     struct error *err)
{
    return double_change(host, reference, 1u << INSTANCE_STANDBY, INSTANCE_RUNNING, record, err);
}
