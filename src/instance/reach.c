/* SPDX-License-Identifier: Apache-2.0 */
#include "instance/reach.h"

#include <errno.h>

#include "instance/host.h"
#include "instance/patience.h"

#define CONNECT_MS \
    30000 /* a Running guest's agent answers; one that hangs must not hold its lock */

static int ask_patiently(const struct operation *op, enum instance_operation operation,
                         agent_asker *ask, const void *request, struct error *err)
{
    _cleanup_(free) char *vsock = operation_path(op, GUEST_VSOCK_SOCKET);
    const char *verb = operation_verb(operation);
    if (!vsock)
        return error_errno(err, ENOMEM, op->guest_dir, "%s %s", verb, op->record.name);
    unsigned limit = op->host->agent_timeout_ms;
    struct patience patience = patience_start(limit < CONNECT_MS ? limit : CONNECT_MS);
    struct vm_process process;
    bool alive = operation_process(op, &process);
    int r;
    do {
        error_clear(err);
        r = ask(&op->record, vsock, patience_next(&patience), request, err);
        alive = alive && vm_process_alive(&process);
    } while (r == -ETIMEDOUT && alive && !patience.last);
    process_release(&process);
    if (r < 0 && !alive)
        return error_set(err, ERROR_STATE, ECONNRESET, "cannot %s %s: its VMM has ended", verb,
                         op->record.name);
    if (r < 0)
        error_wrap(err, "%s %s", verb, op->record.name);
    return r;
}

int agent_reach(struct host *host, const char *reference, enum instance_operation operation,
                agent_asker *ask, const void *request, struct error *err)
{
    _cleanup_(operation) struct operation op = OPERATION_NONE;
    int r = operation_begin(host, reference, LOCK_SHARED, &op, err);
    if (r == 0)
        r = transition_check(operation, &op.record, err);
    if (r < 0)
        return r;
    if (op.record.skip_guest_agent)
        return error_set(err, ERROR_UNSUPPORTED, ENOTSUP,
                         "cannot %s %s: it was created without the guest agent",
                         operation_verb(operation), op.record.name);
    return ask_patiently(&op, operation, ask, request, err);
}
