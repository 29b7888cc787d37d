/* SPDX-License-Identifier: Apache-2.0 */
/* The VMM as its API sees it: one VM per process, from "Not started" to "Running" and "Paused".
 * All functions are called on the event-loop thread. */
#ifndef TINE_VMM_VMM_H
#define TINE_VMM_VMM_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "base/error.h"
#include "base/loop.h"
#include "vmm/config.h"
#include "vmm/memory.h"

enum vmm_state { VMM_NOT_STARTED, VMM_RUNNING, VMM_PAUSED };

struct vmm;

struct snapshot_create_request {
    const char *snapshot_path;
    const char *mem_file_path;
    bool diff;  /* see guest_memory_diff() */
    bool layer; /* see guest_memory_layer(): always a fresh file */
};

struct snapshot_load_request {
    const char *snapshot_path;
    const char *mem_file_path; /* NULL: */
    unsigned layers;           /* over that file: "<mem_file_path>.1", ... */
    const char *uffd_socket;   /* where a page server listens (page_server.h) */
    bool track_dirty_pages;    /* a diff is then against the last snapshot */
    bool resume_vm;
    bool clock_realtime;        /* advance kvmclock by the wall time that has passed */
    const char *vsock_uds_path; /* vsock_override; NULL: the path in the state */
};

/* `id` and `loop` must outlive it. The VMM adds a device loop of its own to `loop`. */
struct vmm *vmm_create(const char *id, struct loop *loop, struct error *err);
void vmm_destroy(struct vmm *vmm);

/* The guest has ended by itself: what it wrote to its disks is durable afterwards. The process ends
 * next. */
void vmm_end(struct vmm *vmm);

const char *vmm_id(const struct vmm *vmm);
enum vmm_state vmm_state(const struct vmm *vmm);
/* "Not started", "Running", "Paused": the strings of GET /. */
const char *vmm_state_name(enum vmm_state state);
/* The configuration; the API edits it before the start, and reads it later. */
struct vm_config *vmm_config(struct vmm *vmm);

/* Boots what is configured (InstanceStart). On failure nothing runs, the state stays Not started
 * and another attempt is legal. */
int vmm_start(struct vmm *vmm, struct error *err);
/* Both are idempotent. While paused no vCPU runs and no device acts. */
int vmm_pause(struct vmm *vmm, struct error *err);
int vmm_resume(struct vmm *vmm, struct error *err);

/* Snapshot of a paused VM. Both files are written under temporary names, synced and renamed
 * into place, memory first, so neither path ever holds half a file, and an existing file of that
 * name, whoever else links it, is left as it is but for losing this name (R2, R3). On failure the
 * VM is still paused and usable, and nothing is left behind.
 *
 * With `diff`, a memory file that is there and has the size of guest memory is written in place,
 * and then it must have no other name (-EMLINK, R2): it is the base of the diff, or a copy of it,
 * and becomes an image of now. The old state is removed before. After a failure the file is good
 * for another diff of this VM and for nothing else (guest_memory_diff()), and there is no state. */
int vmm_snapshot_create(struct vmm *vmm, const struct snapshot_create_request *request,
                        struct error *err);
/* What the guest wrote to drives that are stacks (stack/disk_stack.h) is durable, flushed by it or
 * not. While the VM runs its devices wait. */
int vmm_disks_flush(struct vmm *vmm, struct error *err);
/* The same of a paused VM, and it becomes a layer of each drive that forks can link; the VM goes on
 * over new tops. Drives that were sealed before one fails stay so. */
int vmm_disks_seal(struct vmm *vmm, struct error *err);
struct vmm_populate {
    bool write;
    bool kvm; /* of a paused VM: its guest finds them mapped, where KVM can (vcpus_map()) */
};
/* Of a VM that was started; see guest_memory_populate(). */
int vmm_memory_populate(struct vmm *vmm, const struct guest_pages *pages,
                        const struct vmm_populate *how, struct error *err);
/* See guest_memory_touched(). The VM may run: it tells what was touched at some moment. */
int vmm_memory_touched(struct vmm *vmm, guest_touched *tell, void *context, struct error *err);
/* Builds the VM from a snapshot; legal only while nothing boot-specific is configured. Ends Paused,
 * or Running with resume_vm. On failure the caller ends the process (status 1), as Firecracker
 * does. */
int vmm_snapshot_load(struct vmm *vmm, const struct snapshot_load_request *request,
                      struct error *err);

/* Where a drive is, in place of where its VM had it. */
struct drive_path {
    char *drive_id, *path_on_host;
};

/* A VM as it stood at one moment: memory, shared copy-on-write with whoever has the same pages, and
 * state. It does not run; children are made of it (template.c). */
struct template;

struct template_times {
    uint64_t paused_ns; /* of the VM, in all; 0: it was paused before */
    uint64_t fork_ns;   /* of that, or in that state, fork(2) */
};

/* Makes a template of the VM as it is now, in a process of its own. Returns in both: its pid here,
 * where the VM goes on as it was, running or paused, and 0 there, where `*template` is all that may
 * be used: the VMM's descriptors are the other process's, and its threads don't exist. Negative on
 * failure, and the VM goes on. Memory from a page server is ERROR_UNSUPPORTED: a copy of it would
 * be of what was touched alone. The VM feels nothing but the pause; the children lose their
 * connections over vsock. */
pid_t vmm_template_fork(struct vmm *vmm, struct template **template, struct template_times *times,
                        struct error *err);
uint64_t template_memory_bytes(const struct template *template);

struct template_child {
    const char *vsock_uds_path;      /* NULL: the template's */
    const struct drive_path *drives; /* those that are elsewhere; the others are where they were */
    unsigned drive_count;
    bool clock_realtime; /* advance kvmclock by the wall time that has passed */
};

/* Makes the VM of the template, Paused: in a child of its process, and once, for it takes the
 * memory over. */
int vmm_template_load(struct vmm *vmm, struct template *template,
                      const struct template_child *child, struct error *err);

/* SendCtrlAltDel through the i8042. */
int vmm_send_ctrl_alt_del(struct vmm *vmm, struct error *err);
/* Post-boot balloon target in MiB; ERROR_STATE without a balloon or before its driver is up. */
int vmm_balloon_set(struct vmm *vmm, uint32_t amount_mib, struct error *err);
/* Post-boot: reopens a drive from another path and tells the guest its new size. */
int vmm_drive_update(struct vmm *vmm, const char *drive_id, const char *path, struct error *err);

#endif
