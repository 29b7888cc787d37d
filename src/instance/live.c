/* SPDX-License-Identifier: Apache-2.0 */
#include "instance/live.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>

#include "base/clock.h"
#include "base/file.h"
#include "base/log.h"
#include "instance/disks.h"
#include "instance/fork_files.h"
#include "instance/program_run.h"
#include "instance/settle.h"
#include "instance/trace.h"
#include "instance/wake.h"
#include "instance/watch.h"

/* ---- the template ---- */

static int directory_make(const struct operation *source, struct live *live, struct error *err)
{
    live->draft = (struct draft){.parent = source->guest_fd, .fd = -1};
    live->draft.name = temporary_name(LIVE_DIRECTORY);
    if (!live->draft.name ||
        asprintf(&live->path, "%s/%s", source->guest_dir, live->draft.name) < 0) {
        live->path = NULL;
        return error_errno(err, ENOMEM, source->guest_dir, "make a template");
    }
    if (mkdirat(source->guest_fd, live->draft.name, 0700) < 0)
        return error_errno(err, errno, live->path, "make %s", live->path);
    live->draft.fd = dir_open(source->guest_fd, live->draft.name, err);
    if (live->draft.fd < 0)
        return live->draft.fd;
    live->owner = operation_owner(source);
    live->owner.fd = live->draft.fd;
    return mkdirat(live->draft.fd, "run", 0700) < 0
               ? error_errno(err, errno, live->path, "make %s/run", live->path)
               : 0;
}

static struct vm_template template_of(const struct live *live)
{
    return (struct vm_template){.id = live->owner.id, .guest_dir = live->path};
}

static int template_make(struct operation *source, struct live *live, struct error *err)
{
    const struct hypervisor *hypervisor = operation_hypervisor(source);
    const struct vm_spec spec = operation_spec(source);
    const struct vm_template template = template_of(live);
    uint64_t paused_ns = 0;
    int r = step("live-prepared", err);
    if (r == 0)
        r = hypervisor->template_make(hypervisor, &spec, &template, &live->process, &paused_ns,
                                      err);
    if (r == 0 && paused_ns > 0)
        log_info("instance %s: paused for %llu us for a template", source->record.id,
                 (unsigned long long)(paused_ns / 1000));
    return r < 0 ? r : step("live-made", err);
}

/* It runs again; if that can't be had, what is true of it is found out. */
static int run_again(struct operation *source, int made, struct error *err)
{
    const struct hypervisor *hypervisor = operation_hypervisor(source);
    const struct vm_spec spec = operation_spec(source);
    struct error cause = {0};
    int r = hypervisor->resume(hypervisor, &spec, &cause);
    if (r == 0) {
        operation_show(source, INSTANCE_RUNNING);
        return made;
    }
    error_set(err, cause.code, cause.errnum, "%s was paused for a fork, and: %s",
              source->record.name, cause.message);
    int settled = settle(source, "the VMM ended while the instance was forked", &cause);
    if (settled < 0)
        log_error("instance %s: %s", source->record.id, cause.message);
    return r;
}

/* 1 if there are stacks to be sealed. What its guest has not flushed yet is written while it still
 * runs, and so not in the pause. */
static int prepare_disks(const struct operation *source, struct error *err)
{
    const struct hypervisor *hypervisor = operation_hypervisor(source);
    const struct vm_spec spec = operation_spec(source);
    int r = disks_prepare_seal(source, err);
    if (r <= 0)
        return r;
    r = hypervisor->disks_flush(hypervisor, &spec, err);
    return r < 0 ? r : 1;
}

/* What is written from now on is written to new tops, so that the rest can be linked. */
static int seal_disks(const struct operation *source, struct error *err)
{
    const struct hypervisor *hypervisor = operation_hypervisor(source);
    const struct vm_spec spec = operation_spec(source);
    int r = hypervisor->disks_seal(hypervisor, &spec, err);
    return r < 0 ? r : step("live-sealed", err);
}

/* Disks and memory are of the same moment. */
static int make_paused(struct operation *source, struct handover *handover, struct live *live,
                       struct error *err)
{
    const struct hypervisor *hypervisor = operation_hypervisor(source);
    const struct vm_spec spec = operation_spec(source);
    const int stacks = prepare_disks(source, err);
    if (stacks < 0)
        return stacks;
    const uint64_t begin_ns = time_monotonic_ns();
    int r = hypervisor->pause(hypervisor, &spec, err);
    if (r < 0)
        return r;
    operation_show(source, INSTANCE_PAUSED);
    r = step("live-paused", err);
    if (r == 0 && stacks > 0)
        r = seal_disks(source, err);
    if (r == 0)
        r = fork_writable_disks(handover, err);
    if (r == 0)
        r = template_make(source, live, err);
    r = run_again(source, r, err);
    if (r == 0)
        log_info("instance %s: paused for %llu us for a template and what its disks hold",
                 source->record.id, (unsigned long long)((time_monotonic_ns() - begin_ns) / 1000));
    return r;
}

static int make(struct operation *source, struct live *live, struct error *err)
{
    const struct owner from = operation_owner(source);
    struct instance_record *record = malloc(sizeof(*record)); /* what it says is nobody's */
    if (!record)
        return error_errno(err, ENOMEM, source->guest_dir, "make a template");
    *record = source->record;
    struct handover handover = {.from = &from,
                                .to = &live->owner,
                                .draft = &live->draft,
                                .record = record,
                                .stacks = disks_are_stacks(source->host, record)};
    int r = directory_make(source, live, err);
    if (r == 0)
        r = fork_base(&handover, err);
    if (r == 0)
        r = record_has_writable_disk(record) ? make_paused(source, &handover, live, err)
                                             : template_make(source, live, err);
    free(record);
    return r;
}

int live_begin(struct operation *source, struct live *live, struct error *err)
{
    const struct hypervisor *hypervisor = operation_hypervisor(source);
    const struct vm_spec spec = operation_spec(source);
    if (!hypervisor->template_check || source->record.paged)
        return error_set(err, ERROR_UNSUPPORTED, ENOTSUP, "%s can't be forked without a nap",
                         source->record.name);
    int r = hypervisor->template_check(hypervisor, &spec, err);
    if (r == 0 && !(live->capture = capture_new()))
        r = error_errno(err, ENOMEM, source->guest_dir, "make a template");
    if (r == 0)
        r = make(source, live, err);
    if (r < 0)
        live_end(live);
    return r;
}

void live_end(struct live *live)
{
    struct error err = {0};
    if (live->process.pid > 0 && vm_process_kill(&live->process, VMM_KILL_MS, &err) < 0)
        log_error("instance %s: end its template: %s", live->owner.id, err.message);
    process_release(&live->process);
    live->process.pid = 0;
    cleanup_draft(&live->draft);
    capture_put(live->capture);
    free(live->path);
    *live = (struct live)LIVE_NONE;
}

/* ---- a fork of it ---- */

int live_child(struct operation *op, const struct live *live, struct error *err)
{
    const struct hypervisor *hypervisor = operation_hypervisor(op);
    const struct vm_spec spec = operation_spec(op);
    const struct vm_template template = template_of(live);
    struct vm_process process = {.pidfd = -1};
    trace_phase(op, "child");
    int r = hypervisor->template_child(hypervisor, &template, &live->process, &spec, &process, err);
    if (r < 0) {
        live_end_unknown(op);
        return r;
    }
    op->record.state = INSTANCE_PAUSED;
    op->record.vmm_pid = process.pid;
    op->record.vmm_start_ticks = process.start_ticks;
    process_release(&process);
    return step("live-child", err);
}

static int record_running(struct operation *op, const struct vm_process *process, struct error *err)
{
    op->record.state = INSTANCE_RUNNING;
    op->record.started_at_ns = time_realtime_ns();
    int r = store_update(op->host->store, &op->record, err);
    if (r == 0)
        r = step("live-recorded", err);
    if (r == 0)
        r = watch_add(op->host->watch, op->record.id, process->pidfd, false, err);
    if (r == 0 && program_given(&op->record.program))
        watch_program(op->host->watch, op->record.id);
    return r;
}

/* Until the row says Running it says Created: whoever finds it removes it. */
static int run(struct operation *op, struct vm_process *process, struct error *err)
{
    const struct hypervisor *hypervisor = operation_hypervisor(op);
    const struct vm_spec spec = operation_spec(op);
    trace_phase(op, "resume");
    int r = hypervisor->resume(hypervisor, &spec, err);
    if (r == 0)
        r = step("live-resumed", err);
    trace_phase(op, "agent");
    if (r == 0 && !op->record.skip_guest_agent)
        r = wake_agent(op, process, op->record.name, op->host->agent_timeout_ms, err);
    trace_phase(op, "record");
    return r < 0 ? r : record_running(op, process, err);
}

int live_wake(struct operation *op, struct error *err)
{
    struct vm_process process;
    int r;
    if (operation_process(op, &process))
        r = run(op, &process, err);
    else
        r = error_set(err, ERROR_SYSTEM, ECONNRESET, "the VMM of %s ended at its birth",
                      op->record.name);
    process_release(&process);
    if (r == 0)
        operation_show(op, INSTANCE_RUNNING);
    return r;
}
