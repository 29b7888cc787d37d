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

/* The state of the paused VM, its configuration in it, finished. `writer` is to be freed in any
 * case. */
int vmm_state_build(struct vmm *vmm, enum machine_saving saving, struct state_writer *writer,
                    struct error *err);

/* A VM that is made of a state: out of a snapshot's files, or of a template. */
struct vm_load {
    const struct snapshot_load_request *request;
    struct guest_memory *memory;     /* a template's, taken over; NULL: the request says which */
    const struct drive_path *drives; /* in place of those in the state */
    unsigned drive_count;
    enum machine_saving saving; /* of the state */
};

/* Paused, on success. */
int vmm_state_load(struct vmm *vmm, const struct state_reader *reader, const struct vm_load *load,
                   struct error *err);

#endif
