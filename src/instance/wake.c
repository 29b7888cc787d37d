/* SPDX-License-Identifier: Apache-2.0 */
#include "instance/wake.h"

#include <errno.h>
#include <string.h>
#include <sys/random.h>

#include "agent/client.h"
#include "instance/patience.h"

#define ENTROPY_BYTES 64

static int try_once(const struct operation *op, const char *vsock, const char *hostname,
                    unsigned timeout_ms, struct error *err)
{
    unsigned char entropy[ENTROPY_BYTES];
    if (getrandom(entropy, sizeof(entropy), 0) != (ssize_t)sizeof(entropy))
        return error_errno(err, errno, NULL, "random numbers for %s", op->record.name);
    int r = agent_restored(vsock, timeout_ms, hostname, entropy, sizeof(entropy), err);
    explicit_bzero(entropy, sizeof(entropy));
    return r;
}

static int no_answer(const struct operation *op, struct vm_process *process, int r,
                     struct error *err)
{
    if (!vm_process_alive(process))
        return error_set(err, ERROR_SYSTEM, ECONNRESET, "the VMM of %s ended while the guest woke",
                         op->record.name);
    error_wrap(err, "the agent of %s does not answer", op->record.name);
    return r;
}

/* Telling an agent twice does no harm. */
int wake_agent(const struct operation *op, struct vm_process *process, const char *hostname,
               unsigned timeout_ms, struct error *err)
{
    _cleanup_(free) char *vsock = operation_path(op, GUEST_VSOCK_SOCKET);
    if (!vsock)
        return error_errno(err, ENOMEM, op->guest_dir, "wake %s", op->record.name);
    struct patience patience = patience_start(timeout_ms);
    for (;;) {
        unsigned try_ms = patience_next(&patience);
        error_clear(err);
        int r = try_once(op, vsock, hostname, try_ms, err);
        if (r == 0)
            return 0;
        if (patience.last || !vm_process_alive(process))
            return no_answer(op, process, r, err);
    }
}
