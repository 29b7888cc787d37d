/* SPDX-License-Identifier: Apache-2.0 */
#include <stdio.h>

#include "agent/client.h"
#include "base/clock.h"
#include "base/log.h"
#include "instance/directory.h"
#include "instance/disks.h"
#include "instance/paged.h"
#include "instance/restart.h"
#include "instance/settle.h"
#include "instance/trace.h"
#include "instance/transition.h"

int kill_locked(struct operation *op, struct error *err)
{
    struct vm_process process;
    int r = 0;
    if (operation_process(op, &process))
        r = vm_process_kill(&process, VMM_KILL_MS, err);
    process_release(&process);
    if (r < 0)
        return error_wrap(err, "instance %s", op->record.name);
    paged_end(op);
    return 0;
}

/* A guest that does not listen is not an error: it is ended when its time is over. */
static void ask(struct operation *op, unsigned grace_ms)
{
    const struct hypervisor *hypervisor = operation_hypervisor(op);
    const struct vm_spec spec = operation_spec(op);
    struct error err = {0};
    _cleanup_(free) char *vsock = operation_path(op, GUEST_VSOCK_SOCKET);
    bool agent = vsock && !op->record.skip_guest_agent && op->record.state == INSTANCE_RUNNING;
    if (agent && agent_poweroff(vsock, grace_ms, &err) == 0)
        return;
    if (agent)
        log_info("instance %s: power off by its agent: %s", op->record.id, err.message);
    if (hypervisor->shutdown(hypervisor, &spec, &err) < 0)
        log_info("instance %s: ask it to shut down: %s", op->record.id, err.message);
}

/* The process is opened first: one that has ended can't be waited for by its pid. */
static void ask_and_wait(struct operation *op, unsigned grace_ms)
{
    struct vm_process process;
    uint64_t deadline = time_after_ms(grace_ms);
    bool alive = operation_process(op, &process);
    if (alive)
        ask(op, grace_ms);
    /* Killed next, however it ends. */
    if (alive)
        vm_process_wait(&process, (unsigned)time_left_ms(deadline), NULL);
    process_release(&process);
}

/* What could be taken for a memory image goes before the row says Stopped. */
int power_off_locked(struct operation *op, unsigned grace_ms, struct error *err)
{
    operation_show(op, INSTANCE_SHUTDOWN);
    trace_phase(op, "ask");
    ask_and_wait(op, grace_ms);
    trace_phase(op, "kill");
    int r = step("stop-asked", err);
    if (r == 0)
        r = kill_locked(op, err);
    if (r == 0)
        r = step("stop-killed", err);
    if (r == 0)
        r = directory_drop(op, GUEST_SNAPSHOT, err);
    if (r == 0)
        r = directory_drop(op, GUEST_BASE, err);
    if (r < 0)
        return r;
    disks_compact(op);
    restart_forbid(&op->record);
    return settle_without_vmm(op, "", err);
}

static int stop_locked(struct operation *op, unsigned grace_ms, struct error *err)
{
    struct trace trace;
    trace_begin(&trace, op, "stop");
    return trace_end(&trace, power_off_locked(op, grace_ms, err), err);
}

/* It is stopped; it stays so. */
static int stay_stopped(struct operation *op, struct error *err)
{
    if (op->record.restart_next_ns == 0)
        return 0;
    log_info("instance %s (%s): it is not started again", op->record.id, op->record.name);
    restart_forbid(&op->record);
    return store_update(op->host->store, &op->record, err);
}

int instance_stop(struct host *host, const char *reference, unsigned grace_ms,
                  struct instance_record *record, struct error *err)
{
    _cleanup_(operation) struct operation op = OPERATION_NONE;
    int r = operation_begin(host, reference, LOCK_EXCLUSIVE, &op, err);
    if (r < 0)
        return r;
    r = transition_check(OPERATION_STOP, &op.record, err);
    if (r > 0)
        r = stop_locked(&op, grace_ms > 0 ? grace_ms : POWER_OFF_GRACE_MS, err);
    else if (r == 0)
        r = stay_stopped(&op, err);
    if (r < 0)
        return r;
    operation_result(&op, record);
    return 0;
}
