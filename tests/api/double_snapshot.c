/* SPDX-License-Identifier: Apache-2.0 */
/* A double of snapshot.h: rows in memory, with the rules of the real ones. A snapshot whose name
 * begins with "fail-resources" or "fail-unsupported" can't be made; the compression of one with
 * "fail-compression" fails, that of others never ends. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "double.h"

/* Called with the lock held. */
static struct snapshot_record *find(struct host *host, const char *id, struct error *err)
{
    for (size_t i = 0; i < host->snapshot_count; i++) {
        if (strcmp(host->snapshots[i].id, id) == 0)
            return &host->snapshots[i];
    }
    error_set(err, ERROR_NOT_FOUND, ENOENT, "no snapshot '%s'", id);
    return NULL;
}

static bool matches(const struct snapshot_record *record, const struct snapshot_filter *filter)
{
    return (!filter->name || strcmp(filter->name, record->name) == 0) &&
           (!filter->source_instance_id ||
            strcmp(filter->source_instance_id, record->source.id) == 0) &&
           (!filter->has_kind || filter->kind == record->kind);
}

/* Called with the lock held. */
static int add(struct host *host, const struct instance_record *source,
               const struct snapshot_create_request *request, struct snapshot_record *result,
               struct error *err)
{
    const char *name = request->name ? request->name : "";
    const struct snapshot_filter same = {.name = name, .source_instance_id = source->id};
    for (size_t i = 0; *name && i < host->snapshot_count; i++) {
        if (matches(&host->snapshots[i], &same))
            return error_set(err, ERROR_NAME, EEXIST, "%s has a snapshot \"%s\" already",
                             source->name, name);
    }
    if (host->snapshot_count == SNAPSHOTS_MAX)
        return error_set(err, ERROR_RESOURCES, ENOSPC, "too many snapshots");
    struct snapshot_record *record = &host->snapshots[host->snapshot_count++];
    *record = (struct snapshot_record){.kind = request->kind,
                                       .created_at_ns = time_realtime_ns(),
                                       .size_bytes = 3ull << 30,
                                       .source = *source};
    snprintf(record->id, sizeof(record->id), "s%05uabcdefghijklmnopqr",
             ++host->snapshots_made % 100000);
    snprintf(record->name, sizeof(record->name), "%.63s", name);
    snprintf(record->tags, sizeof(record->tags), "%s", request->tags ? request->tags : "");
    record->source.compression[0] = '\0';
    const struct snapshot_policy policy = policies_snapshot(source->policies);
    const struct stack_compression *how = double_compression(host, &policy);
    if (request->has_compression)
        how = request->compression;
    if (how && request->kind == INSTANCE_STANDBY) {
        bool fails = strncmp(name, "fail-compression", 16) == 0;
        stack_compression_format(how, record->compression);
        record->compression_status.state = fails ? COMPRESSION_FAILED : COMPRESSION_RUNNING;
        snprintf(record->compression_status.error, sizeof(record->compression_status.error), "%s",
                 fails ? "as told" : "");
    }
    *result = *record;
    return 0;
}

static int check(const struct instance_record *source,
                 const struct snapshot_create_request *request, struct error *err)
{
    bool stopped = request->kind == INSTANCE_STOPPED;
    if (request->name && !instance_name_valid(request->name))
        return error_set(err, ERROR_INVALID, EINVAL, "\"%s\" is not a name", request->name);
    if (request->name && strncmp(request->name, "fail-resources", 14) == 0)
        return error_set(err, ERROR_RESOURCES, ENOSPC, "%s: as told", request->name);
    if (request->name && strncmp(request->name, "fail-unsupported", 16) == 0)
        return error_set(err, ERROR_UNSUPPORTED, ENOTSUP, "%s: as told", request->name);
    if (stopped ? source->state == INSTANCE_STOPPED
                : source->state == INSTANCE_RUNNING || source->state == INSTANCE_STANDBY)
        return 0;
    return error_set(err, ERROR_STATE, EBUSY, "%s is %s, which does not allow this", source->name,
                     instance_state_name(source->state));
}

int snapshot_create(struct host *host, const char *instance,
                    const struct snapshot_create_request *request, struct snapshot_record *record,
                    struct error *err)
{
    struct instance_record source;
    int r = instance_get(host, instance, &source, err);
    if (r == 0)
        r = check(&source, request, err);
    if (r < 0)
        return r;
    pthread_mutex_lock(&host->lock);
    r = add(host, &source, request, record, err);
    pthread_mutex_unlock(&host->lock);
    return r;
}

int snapshot_get(struct host *host, const char *id, struct snapshot_record *record,
                 struct error *err)
{
    pthread_mutex_lock(&host->lock);
    const struct snapshot_record *found = find(host, id, err);
    if (found)
        *record = *found;
    pthread_mutex_unlock(&host->lock);
    return found ? 0 : -ENOENT;
}

int snapshot_list(struct host *host, const struct snapshot_filter *filter,
                  struct snapshot_record **records, size_t *count, struct error *err)
{
    *records = calloc(SNAPSHOTS_MAX, sizeof(**records));
    *count = 0;
    pthread_mutex_lock(&host->lock);
    for (size_t i = 0; i < host->snapshot_count; i++) {
        if (matches(&host->snapshots[i], filter))
            (*records)[(*count)++] = host->snapshots[i];
    }
    pthread_mutex_unlock(&host->lock);
    return 0;
}

int snapshot_delete(struct host *host, const char *id, struct error *err)
{
    pthread_mutex_lock(&host->lock);
    struct snapshot_record *found = find(host, id, err);
    if (found) {
        size_t behind = (size_t)(&host->snapshots[host->snapshot_count] - found) - 1;
        memmove(found, found + 1, behind * sizeof(*found));
        host->snapshot_count--;
    }
    pthread_mutex_unlock(&host->lock);
    return found ? 0 : -ENOENT;
}

static int choose(const struct snapshot_record *snapshot, const struct snapshot_target *target,
                  enum instance_state *state, struct error *err)
{
    bool standby = snapshot->kind == INSTANCE_STANDBY;
    *state = target->has_state ? target->state : standby ? INSTANCE_RUNNING : INSTANCE_STOPPED;
    if (target->hypervisor && standby)
        return error_set(err, ERROR_INVALID, EINVAL, "target_hypervisor: not for kind Standby");
    if (target->hypervisor && strcmp(target->hypervisor, "builtin") != 0)
        return error_set(err, ERROR_UNSUPPORTED, ENOTSUP, "target_hypervisor: not here");
    if (!standby && *state == INSTANCE_STANDBY)
        return error_set(err, ERROR_INVALID, EINVAL, "target_state: not for kind Stopped");
    return 0;
}

int snapshot_restore(struct host *host, const char *instance, const char *id,
                     const struct snapshot_target *target, struct instance_record *record,
                     struct error *err)
{
    struct snapshot_record snapshot;
    struct instance_record found;
    enum instance_state state;
    int r = instance_get(host, instance, &found, err);
    if (r == 0)
        r = snapshot_get(host, id, &snapshot, err);
    if (r == 0 && strcmp(snapshot.source.id, found.id) != 0)
        r = error_set(err, ERROR_INVALID, EINVAL, "snapshot %s is not of %s", id, found.name);
    if (r == 0)
        r = choose(&snapshot, target, &state, err);
    if (r == 0 && found.state == INSTANCE_RUNNING)
        r = error_set(err, ERROR_STATE, EBUSY, "%s is Running", found.name);
    return r < 0 ? r : double_change(host, found.id, ~0u, state, record, err);
}

int snapshot_fork(struct host *host, const char *id, const char *name,
                  const struct snapshot_target *target, struct instance_record *record,
                  struct error *err)
{
    struct snapshot_record snapshot;
    enum instance_state state;
    int r = snapshot_get(host, id, &snapshot, err);
    if (r == 0)
        r = choose(&snapshot, target, &state, err);
    if (r == 0 && !instance_name_valid(name))
        r = error_set(err, ERROR_INVALID, EINVAL, "\"%s\" is not a name", name);
    if (r < 0)
        return r;
    struct instance_record fork = snapshot.source;
    snprintf(fork.parent_id, sizeof(fork.parent_id), "%s", snapshot.source.id);
    fork.state = state;
    pthread_mutex_lock(&host->lock);
    r = double_add(host, name, fork, record, err);
    pthread_mutex_unlock(&host->lock);
    return r;
}
