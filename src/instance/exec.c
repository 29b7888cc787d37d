/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>

#include "agent/client.h"
#include "instance/host.h"
#include "instance/patience.h"
#include "instance/transition.h"

#define CONNECT_MS \
    30000 /* a Running guest's agent answers; one that hangs must not hold its lock */

static int start(const struct operation *op, const char *vsock, const struct agent_exec *exec,
                 unsigned timeout_ms, struct error *err)
{
    struct vm_process process;
    struct patience patience = patience_start(timeout_ms);
    int r;
    bool alive = operation_process(op, &process);
    do {
        error_clear(err);
        r = agent_exec_start(vsock, patience_next(&patience), exec, err);
        alive = alive && vm_process_alive(&process);
    } while (r == -ETIMEDOUT && alive && !patience.last);
    process_release(&process);
    if (r < 0 && !alive)
        return error_set(err, ERROR_STATE, ECONNRESET, "cannot execute in %s: its VMM has ended",
                         op->record.name);
    if (r < 0)
        error_wrap(err, "execute in %s", op->record.name);
    return r;
}

/* The lock is held only until the stream is open: it does not keep anybody from a standby. */
int instance_exec(struct host *host, const char *reference, const struct agent_exec *exec,
                  struct error *err)
{
    _cleanup_(operation) struct operation op = OPERATION_NONE;
    int r = operation_begin(host, reference, LOCK_SHARED, &op, err);
    if (r == 0)
        r = transition_check(OPERATION_EXEC, &op.record, err);
    if (r < 0)
        return r;
    if (op.record.skip_guest_agent)
        return error_set(err, ERROR_UNSUPPORTED, ENOTSUP,
                         "%s was created without the guest agent: it can't execute anything",
                         op.record.name);
    _cleanup_(free) char *vsock = operation_path(&op, GUEST_VSOCK_SOCKET);
    if (!vsock)
        return error_errno(err, ENOMEM, op.guest_dir, "execute in %s", op.record.name);
    unsigned timeout = host->agent_timeout_ms < CONNECT_MS ? host->agent_timeout_ms : CONNECT_MS;
    return start(&op, vsock, exec, timeout, err);
}
