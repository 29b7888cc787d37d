/* SPDX-License-Identifier: Apache-2.0 */
#ifndef TINE_VMM_MACHINE_STATE_H
#define TINE_VMM_MACHINE_STATE_H

#include <stdint.h>

#include "base/error.h"
#include "vmm/config.h"
#include "vmm/devices/virtio.h"
#include "vmm/state.h"

#define MACHINE_STATE_VERSION 1u
#define CONFIG_STATE_VERSION  1u

/* STATE_MACHINE: what must be known before anything else, and what the rest is checked against. */
struct machine_state {
    uint64_t memory_bytes;
    uint32_t vcpu_count;
    uint32_t virtio_count;
    uint32_t virtio_ids[VIRTIO_MAX_DEVICES]; /* virtio device id by slot; 0 behind the last */
    char vmm_version[32];                    /* who wrote it; NUL-terminated */
};

_Static_assert(sizeof(struct machine_state) == 112, "the file format is fixed");

/* Reads and checks the two sections; `config` is an initialised one and filled with what the state
 * holds. */
int machine_state_read(const struct state_reader *reader, struct machine_state *state,
                       struct vm_config *config, struct error *err);

#endif
