/* SPDX-License-Identifier: Apache-2.0 */
/* Inside src/hypervisor: the driver for VMMs that speak Firecracker's API, tine-vmm and Firecracker
 * itself. What they do alike is in the files api_*.c; a variant says what differs. */
#ifndef TINE_HYPERVISOR_API_DRIVER_H
#define TINE_HYPERVISOR_API_DRIVER_H

#include "hypervisor/firecracker_api.h"
#include "hypervisor/hypervisor.h"

#define IN_GUEST_DIR(name) HYPERVISOR_GUEST_DIR "/" name

/* What a VMM knows, and so may be told: a field that it does not know it refuses. */
struct api_abilities {
    /* What a load calls the log of dirty pages that a Diff is made of, and that is asked for at
     * boot, too. NULL: the VMM finds what has changed without. */
    const char *dirty_log;
    uint64_t diff_limit; /* bytes of guest memory up to which its Diff is right */
    bool writes_zeros;   /* what it saves holds zero pages */
    bool serial;         /* PUT /serial, and appends to that file; else standard output has it */
    bool free_page_reporting;
    bool clock_realtime;
    bool disk_stacks; /* a drive may be a stack: is_stack */
    bool bzimage;     /* boots one; else ELF only */
};

/* What differs between the VMMs. */
struct api_variant {
    bool templates; /* tine-vmm's way to fork a VM that runs */
    /* Starts the process. What can be known to be wrong with the program is told before. */
    int (*launch)(const struct hypervisor *self, const struct vm_spec *spec,
                  struct vm_process *process, uint64_t *log_start, struct error *err);
    /* What the VMM that listens there knows. `fresh`: it was just launched. */
    int (*identify)(const struct hypervisor *self, const struct vmm_api *api, bool fresh,
                    struct api_abilities *abilities, struct error *err);
};

/* A VMM that can be asked, by the socket in its guest directory. */
struct call {
    struct vmm_api api;
    char *socket; /* on the host */
};
void cleanup_call(struct call *call);
int call_init(struct call *call, const struct vm_spec *spec, unsigned request_ms,
              struct error *err);

/* A VMM being started; on failure it is killed and its last words are added to the error. */
struct attempt {
    const struct hypervisor *self;
    const struct vm_spec *spec;
    struct vm_process process;
    uint64_t log_start;
    struct call call;
    struct api_abilities abilities;
};
void cleanup_attempt(struct attempt *attempt);
/* Launches a VMM and waits until it answers. On failure no process is left. */
int attempt_start(struct attempt *attempt, const struct hypervisor *self,
                  const struct vm_spec *spec, unsigned request_ms, struct error *err);
/* The same where `begin` brings the process to life, which fills `attempt->process`. */
typedef int attempt_begin(struct attempt *attempt, void *context, struct error *err);
int attempt_start_by(struct attempt *attempt, const struct hypervisor *self,
                     const struct vm_spec *spec, attempt_begin *begin, void *context,
                     struct error *err);
/* Waits until it answers, at most `ready_ms`, and no longer than it lives. */
int attempt_wait(const struct attempt *attempt, struct error *err);
/* Ends the attempt. What the VMM refused in words is the cause itself; else, if it died, its exit
 * and the end of its log are. Returns `r`. */
int attempt_fail(struct attempt *attempt, int r, struct error *err);

/* The console goes on where it was. */
int api_put_serial(const struct attempt *attempt, struct error *err);

/* The name of a directory of the guest directory, nothing that leads elsewhere. */
int api_check_snapshot_dir(const char *name, struct error *err);

/* The functions of struct hypervisor. */
int api_boot(const struct hypervisor *self, const struct vm_spec *spec, struct vm_process *process,
             struct error *err);
int api_restore(const struct hypervisor *self, const struct vm_spec *spec,
                const struct vm_restore *how, struct vm_process *process, struct error *err);
int api_pause(const struct hypervisor *self, const struct vm_spec *spec, struct error *err);
int api_resume(const struct hypervisor *self, const struct vm_spec *spec, struct error *err);
int api_snapshot(const struct hypervisor *self, const struct vm_spec *spec,
                 const char *snapshot_dir, enum vm_save how, struct error *err);
int api_can_save(const struct hypervisor *self, const struct vm_spec *spec, enum vm_save how,
                 struct error *err);
int api_template_check(const struct hypervisor *self, const struct vm_spec *spec,
                       struct error *err);
int api_disks_flush(const struct hypervisor *self, const struct vm_spec *spec, struct error *err);
int api_disks_seal(const struct hypervisor *self, const struct vm_spec *spec, struct error *err);
int api_template_make(const struct hypervisor *self, const struct vm_spec *source,
                      const struct vm_template *template, struct vm_process *process,
                      uint64_t *paused_ns, struct error *err);
int api_template_child(const struct hypervisor *self, const struct vm_template *template,
                       const struct vm_process *template_process, const struct vm_spec *spec,
                       struct vm_process *process, struct error *err);
int api_populate(const struct hypervisor *self, const struct vm_spec *spec,
                 const struct vm_populate *pages, struct error *err);
int api_touched(const struct hypervisor *self, const struct vm_spec *spec,
                struct vm_touched *touched, struct error *err);
int api_shutdown(const struct hypervisor *self, const struct vm_spec *spec, struct error *err);
int api_query(const struct hypervisor *self, const struct vm_spec *spec, char state[16],
              struct error *err);

/* A driver for that variant, for the program at `binary` (borrowed). */
struct hypervisor api_driver(const char *name, const struct api_variant *variant,
                             const char *binary);

#endif
