/* SPDX-License-Identifier: Apache-2.0 */
#ifndef TINE_VMM_VMM_PRIVATE_H
#define TINE_VMM_VMM_PRIVATE_H

#include <pthread.h>

#include "vmm/machine.h"
#include "vmm/vmm.h"

struct vmm {
    const char *id;
    struct loop *loop;
    struct loop *device_loop;
    pthread_mutex_t device_lock; /* see struct machine_place */
    struct vm_config config;
    enum vmm_state state;
    struct machine *machine; /* NULL: not started */
};

struct machine_place vmm_place(struct vmm *vmm);

#endif
