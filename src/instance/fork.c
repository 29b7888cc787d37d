/* SPDX-License-Identifier: Apache-2.0 */
/* Fork, in this order:
 *
 *   hold the source (for reading; a Running one for writing, and make a template of it, or put it
 *   into standby); a row in state Created, which reserves the name; the fork's guest directory,
 *   made of links and published whole; a VM of the template; wake a source that was put to sleep;
 *   let go of the source; bring the fork to its target.
 *
 * The source is held only for as long as its files are linked, so forks of one source run at the
 * same time; those that ask for a Running source while it is on its way to standby for another fork
 * or a snapshot share that nap (source.h). A row in state Created is an instance in the making, as
 * in create. */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "base/clock.h"
#include "base/log.h"
#include "instance/disks.h"
#include "instance/due.h"
#include "instance/fork.h"
#include "instance/fork_files.h"
#include "instance/lifetime.h"
#include "instance/program_run.h"
#include "instance/restart.h"
#include "instance/source.h"

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
    program_forget_end(record);
    record->state_error[0] = record->memory_method[0] = '\0';
    record->paged = false;
    record->vmm_pid = 0;
    record->vmm_start_ticks = 0;
    record->created_at_ns = time_realtime_ns();
    lifetime_inherit(record);
    restart_reset(record);
    record->started_at_ns = record->stopped_at_ns = 0;
    record->memory_bytes_copied = record->disk_bytes_copied = 0;
}

static int make_directory(const struct owner *from, const struct live *live, struct operation *op,
                          const struct fork *fork, struct error *err)
{
    _cleanup_(draft) struct draft draft = {.fd = -1};
    const struct owner to = operation_owner(op);
    struct handover handover = {.from = from,
                                .to = &to,
                                .draft = &draft,
                                .record = &op->record,
                                .memory = fork->with_memory && !live,
                                .base = live != NULL,
                                .disks = live ? &live->owner : NULL,
                                .stacks = disks_are_stacks(op->host, &op->record)};
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

int fork_make(const struct owner *from, const struct instance_record *source,
              const struct live *live, struct operation *op, struct fork *fork, struct error *err)
{
    trace_phase(op, "link");
    inherit(source, fork->request->name, &op->record);
    int r = store_insert(op->host->store, &op->record, err);
    if (r < 0)
        return r;
    fork->reserved = true;
    r = step("fork-reserved", err);
    if (r == 0)
        r = make_directory(from, live, op, fork, err);
    if (r < 0)
        return r;
    fork->live = live != NULL;
    if (live)
        return live_child(op, live, err);
    op->record.state = fork->with_memory ? INSTANCE_STANDBY : INSTANCE_STOPPED;
    return 0;
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

static int wake_first(struct operation *op, const struct fork *fork, struct error *err)
{
    int r = live_wake(op, err);
    return r < 0 || fork->target == INSTANCE_RUNNING ? r : standby_locked(op, err);
}

int fork_reach_target(struct operation *op, const struct fork *fork, struct error *err)
{
    if (fork->live)
        return wake_first(op, fork, err);
    if (op->record.state == fork->target)
        return store_update(op->host->store, &op->record, err);
    if (fork->with_memory)
        return restore_locked(op, err); /* Running */
    int r = boot_first(op, err);
    if (r < 0 || fork->target == INSTANCE_RUNNING)
        return r;
    if (op->record.state != INSTANCE_RUNNING)
        return error_set(err, ERROR_STATE, ECHILD, "%s can't go to standby: %s", op->record.name,
                         op->record.exit_message);
    return standby_locked(op, err);
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

static struct source_wish wish_of(const struct instance_fork_request *request)
{
    bool cold = request->has_target && request->target == INSTANCE_STOPPED;
    return (struct source_wish){.kind =
                                    request->from_running ? OPERATION_FORK_RUNNING : OPERATION_FORK,
                                .memory = !cold,
                                .running = request->from_running,
                                .live = !cold};
}

/* A fork while its source is held. */
struct making {
    struct operation *op;
    struct fork *fork;
};

static int make(struct operation *source, void *context, struct error *err)
{
    const struct making *making = context;
    const struct owner from = operation_owner(source);
    return fork_make(&from, &source->record, source_live(source), making->op, making->fork, err);
}

static int fork_source(struct host *host, const char *reference, struct fork *fork,
                       struct operation *op, struct error *err)
{
    const struct instance_fork_request *request = fork->request;
    const struct source_wish wish = wish_of(request);
    _cleanup_(operation) struct operation source = OPERATION_NONE;
    int r = source_begin(host, reference, &wish, &source, err);
    if (r == 0)
        r = check_name_free(host, request->name, err);
    if (r < 0)
        return r;
    fork_begin(op, fork, source.waited_ns, source.record.name);
    source.waited_ns = 0; /* its standby and wake wait no more */
    enum instance_state state = source_state(&source);
    fork->target = request->has_target ? request->target : state;
    fork->with_memory = state != INSTANCE_STOPPED && fork->target != INSTANCE_STOPPED;
    struct making making = {.op = op, .fork = fork};
    return source_link(&source, &wish, op, make, &making, err);
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
