/* SPDX-License-Identifier: Apache-2.0 */
#include "instance/wake.h"

#include <errno.h>
#include <string.h>
#include <sys/random.h>

#include "agent/client.h"
#include "base/clock.h"

#define ENTROPY_BYTES 64
#define FIRST_TRY_MS  1000

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

static int no_answer(const struct operation *op, struct vm_process *process, struct error *err)
{
    if (!vm_process_alive(process))
        return error_set(err, ERROR_SYSTEM, ECONNRESET, "the VMM of %s ended while the guest woke",
                         op->record.name);
    return error_wrap(err, "the agent of %s does not answer", op->record.name);
}

/* Tries get longer, so that a VMM which dies is noticed soon and a slow guest still has time to
 * answer one of them. Telling an agent twice does no harm. */
int wake_agent(const struct operation *op, struct vm_process *process, const char *hostname,
               unsigned timeout_ms, struct error *err)
{
    _cleanup_(free) char *vsock = operation_path(op, GUEST_VSOCK_SOCKET);
    if (!vsock)
        return error_errno(err, ENOMEM, op->guest_dir, "wake %s", op->record.name);
    uint64_t deadline = time_monotonic_ns() + (uint64_t)timeout_ms * 1000000u;
    for (unsigned try_ms = FIRST_TRY_MS;; try_ms *= 2) {
        uint64_t now = time_monotonic_ns();
        uint64_t left_ms = now < deadline ? (deadline - now) / 1000000u + 1 : 1;
        bool last = left_ms <= try_ms;
        error_clear(err);
        int r = try_once(op, vsock, hostname, last ? (unsigned)left_ms : try_ms, err);
        if (r == 0 || last || !vm_process_alive(process))
            return r == 0 ? 0 : no_answer(op, process, err);
    }
}
