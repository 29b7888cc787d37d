/* SPDX-License-Identifier: Apache-2.0 */
/* A vmm (vmm/vmm.h) that only remembers what the API asked of it. */
#ifndef TINE_TESTS_FAKE_VMM_H
#define TINE_TESTS_FAKE_VMM_H

#include "vmm/vmm.h"

#define FAKE_TEMPLATE_PID 4711

struct fake_calls {
    unsigned start, pause, resume, create, load, ctrl_alt_del, template;
    unsigned disks_flush, disks_seal, populate;
    uint64_t populate_page, populate_count; /* the last */
    struct vmm_populate populate_how;
    char snapshot_path[256], mem_file_path[256], uffd_socket[256], vsock_uds_path[256];
    unsigned layers;
    bool diff, layer, has_vsock_uds_path, track_dirty_pages, resume_vm, clock_realtime;
    uint32_t balloon_mib;
    char drive_id[64], drive_path[256];
};

struct fake_calls *fake_vmm_calls(struct vmm *vmm);
/* The next vmm_start(), vmm_snapshot_create(), vmm_snapshot_load() ... fails with this errno and
 * message; NULL: succeeds. */
void fake_vmm_fail(struct vmm *vmm, int errnum, const char *message);

#endif
