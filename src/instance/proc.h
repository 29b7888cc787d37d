/* SPDX-License-Identifier: Apache-2.0 */
/* What /proc tells of VMM processes. */
#ifndef TINE_INSTANCE_PROC_H
#define TINE_INSTANCE_PROC_H

#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "base/error.h"

/* A VMM, found by what it sees as its guest directory (HYPERVISOR_GUEST_DIR). */
struct proc_vmm {
    pid_t pid;
    uint64_t start_ticks;
    dev_t device; /* of the guest directory */
    ino_t inode;
};
/* All of this host; owner: caller (free()). */
int proc_vmms(struct proc_vmm **vmms, size_t *count, struct error *err);

#endif
