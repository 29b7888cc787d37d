/* SPDX-License-Identifier: Apache-2.0 */
/* Inside src/hypervisor: the one function by which every VMM is started, and so the one place where
 * confinement lives. */
#ifndef TINE_HYPERVISOR_LAUNCH_H
#define TINE_HYPERVISOR_LAUNCH_H

#include <stdint.h>

#include "hypervisor/hypervisor.h"
#include "hypervisor/jail.h"

struct launch {
    const char *binary;
    const char *const *arguments; /* behind argv[0], NULL-terminated */
    const char *guest_dir;        /* on the host */
    /* Standard output is the console, and appended to GUEST_CONSOLE_LOG (started anew as the other
     * log is). GUEST_VMM_LOG is emptied: the VMM writes into it itself, from its beginning. */
    bool console_on_stdout;
    const struct jail *jail; /* for a jailer, which is the binary; NULL: none */
};

/* Starts a VMM as its own session in its own mount namespace, where the guest directory is
 * HYPERVISOR_GUEST_DIR and the working directory, and nothing else of the host's /run is seen.
 * Standard input is /dev/null, output and errors are appended to GUEST_VMM_LOG (started anew when
 * it was over 4 MiB); no other descriptor and no signal setting is inherited, and the environment
 * is that of spawn.h. The VMM outlives tined. Returns when the program has replaced the child; what
 * fails before that is told with its step, and no process is left. `log_start` receives the size of
 * the log before this launch. */
int launch_vmm(const struct launch *launch, struct vm_process *process, uint64_t *log_start,
               struct error *err);

#endif
