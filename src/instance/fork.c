/* SPDX-License-Identifier: Apache-2.0 */
/* Fork, in this order:
 *
 *   hold the source (for reading; a Running one for writing, and put it into standby); a row in
 *   state Created, which reserves the name; the fork's guest directory, made of links and published
 *   whole; wake a source that was Running; let go of the source; bring the fork to its target.
 *
 * The source is held only for as long as its files are linked, so forks of one source run at the
 * same time; those that ask for a Running source while it is on its way to standby for another fork
 * share that nap (lock.h). A row in state Created is an instance in the making, as in create. */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "base/clock.h"
#include "base/log.h"
#include "instance/due.h"
#include "instance/fork.h"
#include "instance/fork_files.h"
#include "instance/lifetime.h"
#include "instance/memory_image.h"
#include "instance/restart.h"
#include "instance/transition.h"

int fork_check(const struct instance_fork_request *request, struct error *err)
{
    if (!request->name || !instance_name_valid(request->name))
        return error_set(err, ERROR_INVALID, EINVAL,
                         "name: '%.80s' is not a name: 1 to %d lowercase letters, digits and inner "
                         "hyphens",
                         request->name ? request->name : "", INSTANCE_NAME_MAX);
    if (request->has_target && request->target != INSTANCE_RUNNING &&
        request->target != INSTANCE_STANDBY && request->target != INSTANCE_STOPPED)
        return error_set(err, ERROR_INVALID, EINVAL,
                         "target_state: %s; it must be Running, Standby or Stopped",
                         instance_state_name(request->target));
    return 0;
}

/* With the memory image ready to be linked, unless the fork boots anew. */
static int begin_source(struct host *host, const char *reference, enum lock_kind lock,
                        const struct instance_fork_request *request, struct operation *source,
                        struct error *err)
{
    bool cold = request->has_target && request->target == INSTANCE_STOPPED;
    return cold ? operation_begin(host, reference, lock, source, err)
                : memory_begin(host, reference, lock, source, err);
}

/* A Running source is held for writing from its standby to its restore: nobody can stop or delete
 * it in between. One that sleeps anyway is held for reading, as without from_running. */
static int take_source(struct host *host, const char *reference,
                       const struct instance_fork_request *request, struct operation *source,
                       struct error *err)
{
    for (;;) {
        enum lock_kind lock = request->from_running ? LOCK_NAP : LOCK_SHARED;
        int r = begin_source(host, reference, lock, request, source, err);
        if (r < 0 || !source->hold.writing || source->record.state == INSTANCE_RUNNING)
            return r;
        operation_end(source);
        r = begin_source(host, reference, LOCK_SHARED, request, source, err);
        if (r < 0 || source->record.state != INSTANCE_RUNNING)
            return r;
        operation_end(source); /* woken in between */
    }
}

static int hold_source(struct host *host, const char *reference,
                       const struct instance_fork_request *request, struct operation *source,
                       struct error *err)
{
    enum instance_operation kind = request->from_running ? OPERATION_FORK_RUNNING : OPERATION_FORK;
    int r = take_source(host, reference, request, source, err);
    if (r == 0)
        r = transition_check(kind, &source->record, err);
    return r < 0 ? r : 0;
}

/* The fork's row: what it inherits, and a life of its own. */
static void inherit(const struct instance_record *source, const char *name,
                    struct instance_record *record)
{
    char id[sizeof(record->id)];
    snprintf(id, sizeof(id), "%s", record->id);
    *record = *source;
    snprintf(record->id, sizeof(record->id), "%s", id);
    snprintf(record->name, sizeof(record->name), "%s", name);
    snprintf(record->parent_id, sizeof(record->parent_id), "%s", source->id);
    record->state = INSTANCE_CREATED;
    record->state_error[0] = record->exit_message[0] = record->memory_method[0] = '\0';
    record->compression[0] = '\0';
    record->vmm_pid = 0;
    record->vmm_start_ticks = 0;
    record->created_at_ns = time_realtime_ns();
    lifetime_inherit(record);
    restart_reset(record);
    record->started_at_ns = record->stopped_at_ns = 0;
    record->memory_bytes_copied = record->disk_bytes_copied = 0;
}

static int make_directory(const struct owner *from, struct operation *op, const struct fork *fork,
                          struct error *err)
{
    _cleanup_(draft) struct draft draft = {.fd = -1};
    const struct owner to = operation_owner(op);
    struct handover handover = {.from = from,
                                .to = &to,
                                .draft = &draft,
                                .record = &op->record,
                                .memory = fork->with_memory};
    int r = draft_make(op, &draft, err);
    if (r == 0)
        r = fork_files(&handover, err);
    if (r == 0)
        r = step("fork-linked", err);
    if (r == 0)
        r = draft_publish(op, &draft, err);
    return r < 0 ? r : step("fork-published", err);
}

void fork_begin(struct operation *op, struct fork *fork, uint64_t waited_ns, const char *source)
{
    snprintf(op->record.name, sizeof(op->record.name), "%s", fork->request->name);
    op->waited_ns = waited_ns;
    trace_begin(&fork->trace, op, "fork");
    snprintf(fork->trace.note, sizeof(fork->trace.note), "from %.64s", source);
}

int fork_make(const struct owner *from, const struct instance_record *source, struct operation *op,
              struct fork *fork, struct error *err)
{
    trace_phase(op, "link");
    inherit(source, fork->request->name, &op->record);
    int r = store_insert(op->host->store, &op->record, err);
    if (r < 0)
        return r;
    fork->reserved = true;
    r = step("fork-reserved", err);
    if (r == 0)
        r = make_directory(from, op, fork, err);
    if (r == 0)
        op->record.state = fork->with_memory ? INSTANCE_STANDBY : INSTANCE_STOPPED;
    return r;
}

static int make(const struct operation *source, struct operation *op, struct fork *fork,
                struct error *err)
{
    const struct owner from = operation_owner(source);
    return fork_make(&from, &source->record, op, fork, err);
}

/* Nothing is left of it. */
static void unmake(struct operation *op)
{
    struct error cause = {0};
    int r = kill_locked(op, &cause);
    if (r == 0)
        r = remove_locked(op, &cause);
    if (r < 0)
        log_error("instance %s: roll back the fork: %s", op->record.id, cause.message);
}

static int boot_first(struct operation *op, struct error *err)
{
    operation_show(op, INSTANCE_CREATED);
    return boot_locked(op, err);
}

int fork_reach_target(struct operation *op, const struct fork *fork, struct error *err)
{
    if (op->record.state == fork->target)
        return store_update(op->host->store, &op->record, err);
    if (fork->with_memory)
        return restore_locked(op, err); /* Running */
    int r = boot_first(op, err);
    return r < 0 || fork->target == INSTANCE_RUNNING ? r : standby_locked(op, err);
}

int fork_finish(struct operation *op, struct fork *fork, int r, struct instance_record *record,
                struct error *err)
{
    if (r == 0)
        r = fork_reach_target(op, fork, err);
    if (r < 0) {
        if (fork->reserved)
            unmake(op);
        return trace_end(&fork->trace, r, err);
    }
    if (op->record.expires_at_ns > 0)
        due_poke(op->host->expiry);
    operation_result(op, record);
    return trace_end(&fork->trace, 0, err);
}

/* The source sleeps while its files are linked, and is woken whatever becomes of the fork. */
static int make_of_running(struct operation *source, struct operation *op, struct fork *fork,
                           struct error *err)
{
    struct error wake = {0};
    trace_phase(op, "standby");
    int r = traced(source, "standby", standby_locked, err);
    if (r < 0)
        return r;
    lock_nap_open(&source->hold);
    r = make(source, op, fork, err);
    trace_phase(op, "wake");
    lock_nap_close(&source->hold);
    int woken = traced(source, "restore", restore_locked, &wake);
    if (woken == 0 || r < 0) {
        if (woken < 0)
            log_error("instance %s stays in standby: %s", source->record.id, wake.message);
        return r;
    }
    return error_set(err, wake.code, wake.errnum,
                     "fork %s: it could not be woken again and is now %s: %s", source->record.name,
                     instance_state_name(source->record.state), wake.message);
}

/* Checked before the source is put to sleep for nothing; store_insert() decides. */
static int check_name_free(struct host *host, const char *name, struct error *err)
{
    char id[INSTANCE_ID_LENGTH + 1];
    struct instance_record *record = calloc(1, sizeof(*record));
    int r = record ? store_resolve(host->store, name, id, NULL) : -ENOMEM;
    if (r == 0)
        r = store_get(host->store, id, record, NULL);
    bool taken = r == 0 && strcmp(record->name, name) == 0;
    free(record);
    return taken ? error_set(err, ERROR_NAME, EEXIST, "the name '%s' is taken", name) : 0;
}

static int fork_source(struct host *host, const char *reference, struct fork *fork,
                       struct operation *op, struct error *err)
{
    const struct instance_fork_request *request = fork->request;
    _cleanup_(operation) struct operation source = OPERATION_NONE;
    int r = hold_source(host, reference, request, &source, err);
    if (r == 0)
        r = check_name_free(host, request->name, err);
    if (r < 0)
        return r;
    fork_begin(op, fork, source.waited_ns, source.record.name);
    source.waited_ns = 0; /* its standby and wake wait no more */
    /* A source in somebody's nap is Running for everybody but the forks of this nap. */
    enum instance_state state = source.hold.joined ? INSTANCE_RUNNING : source.record.state;
    fork->target = request->has_target ? request->target : state;
    fork->with_memory = state != INSTANCE_STOPPED && fork->target != INSTANCE_STOPPED;
    return source.record.state == INSTANCE_RUNNING ? make_of_running(&source, op, fork, err)
                                                   : make(&source, op, fork, err);
}

int instance_fork(struct host *host, const char *source,
                  const struct instance_fork_request *request, struct instance_record *record,
                  struct error *err)
{
    struct fork fork = {.request = request};
    _cleanup_(operation) struct operation op = OPERATION_NONE;
    int r = fork_check(request, err);
    if (r == 0)
        r = operation_begin_new(host, &op, err);
    if (r < 0)
        return r;
    r = fork_source(host, source, &fork, &op, err);
    return fork_finish(&op, &fork, r, record, err);
}
