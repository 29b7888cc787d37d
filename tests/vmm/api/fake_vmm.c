/* SPDX-License-Identifier: Apache-2.0 */
#include "fake_vmm.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

struct vmm {
    const char *id;
    enum vmm_state state;
    struct vm_config config;
    struct fake_calls calls;
    const char *failure;
    int failure_errno;
};

struct vmm *vmm_create(const char *id, struct loop *loop, struct error *err)
{
    struct vmm *vmm = calloc(1, sizeof(*vmm));
    if (!vmm)
        abort();
    vmm->id = id;
    vm_config_init(&vmm->config);
    return vmm;
}

void vmm_destroy(struct vmm *vmm)
{
    vm_config_free(&vmm->config);
    free(vmm);
}

struct fake_calls *fake_vmm_calls(struct vmm *vmm)
{
    return &vmm->calls;
}

void fake_vmm_fail(struct vmm *vmm, int errnum, const char *message)
{
    vmm->failure_errno = errnum;
    vmm->failure = message;
}

static int outcome(struct vmm *vmm, struct error *err)
{
    if (!vmm->failure)
        return 0;
    int r = error_set(err, ERROR_SYSTEM, vmm->failure_errno, "%s", vmm->failure);
    vmm->failure = NULL;
    return r;
}

const char *vmm_id(const struct vmm *vmm)
{
    return vmm->id;
}

enum vmm_state vmm_state(const struct vmm *vmm)
{
    return vmm->state;
}

const char *vmm_state_name(enum vmm_state state)
{
    static const char *const names[] = {"Not started", "Running", "Paused"};
    return names[state];
}

struct vm_config *vmm_config(struct vmm *vmm)
{
    return &vmm->config;
}

static int change(struct vmm *vmm, unsigned *count, enum vmm_state state, struct error *err)
{
    int r = outcome(vmm, err);
    if (r < 0)
        return r;
    ++*count;
    vmm->state = state;
    return 0;
}

int vmm_start(struct vmm *vmm, struct error *err)
{
    return change(vmm, &vmm->calls.start, VMM_RUNNING, err);
}

int vmm_pause(struct vmm *vmm, struct error *err)
{
    return change(vmm, &vmm->calls.pause, VMM_PAUSED, err);
}

int vmm_resume(struct vmm *vmm, struct error *err)
{
    return change(vmm, &vmm->calls.resume, VMM_RUNNING, err);
}

static void remember(char *place, size_t size, const char *text)
{
    snprintf(place, size, "%s", text ? text : "");
}

int vmm_snapshot_create(struct vmm *vmm, const struct snapshot_create_request *request,
                        struct error *err)
{
    struct fake_calls *calls = &vmm->calls;
    remember(calls->snapshot_path, sizeof(calls->snapshot_path), request->snapshot_path);
    remember(calls->mem_file_path, sizeof(calls->mem_file_path), request->mem_file_path);
    calls->diff = request->diff;
    calls->layer = request->layer;
    return change(vmm, &calls->create, vmm->state, err);
}

int vmm_snapshot_load(struct vmm *vmm, const struct snapshot_load_request *request,
                      struct error *err)
{
    struct fake_calls *calls = &vmm->calls;
    remember(calls->snapshot_path, sizeof(calls->snapshot_path), request->snapshot_path);
    remember(calls->mem_file_path, sizeof(calls->mem_file_path), request->mem_file_path);
    remember(calls->uffd_socket, sizeof(calls->uffd_socket), request->uffd_socket);
    remember(calls->vsock_uds_path, sizeof(calls->vsock_uds_path), request->vsock_uds_path);
    calls->layers = request->layers;
    calls->has_vsock_uds_path = request->vsock_uds_path != NULL;
    calls->track_dirty_pages = request->track_dirty_pages;
    calls->resume_vm = request->resume_vm;
    calls->clock_realtime = request->clock_realtime;
    return change(vmm, &calls->load, request->resume_vm ? VMM_RUNNING : VMM_PAUSED, err);
}

int vmm_disks_flush(struct vmm *vmm, struct error *err)
{
    return change(vmm, &vmm->calls.disks_flush, vmm->state, err);
}

int vmm_disks_seal(struct vmm *vmm, struct error *err)
{
    return change(vmm, &vmm->calls.disks_seal, vmm->state, err);
}

int vmm_memory_populate(struct vmm *vmm, const struct guest_pages *pages,
                        const struct vmm_populate *how, struct error *err)
{
    vmm->calls.populate_page = pages->page;
    vmm->calls.populate_count = pages->count;
    vmm->calls.populate_how = *how;
    return change(vmm, &vmm->calls.populate, vmm->state, err);
}

/* As many runs as pages were populated last: every second page from 0 on, by turns read and
 * written. */
int vmm_memory_touched(struct vmm *vmm, guest_touched *tell, void *context, struct error *err)
{
    int r = outcome(vmm, err);
    for (uint64_t i = 0; r == 0 && i < vmm->calls.populate_count; i++)
        r = tell(context, &(struct guest_pages){2 * i, 1}, i % 2 == 1, err);
    return r;
}

int vmm_send_ctrl_alt_del(struct vmm *vmm, struct error *err)
{
    return change(vmm, &vmm->calls.ctrl_alt_del, vmm->state, err);
}

int vmm_balloon_set(struct vmm *vmm, uint32_t amount_mib, struct error *err)
{
    int r = outcome(vmm, err);
    if (r == 0)
        vmm->calls.balloon_mib = amount_mib;
    return r;
}

int vmm_drive_update(struct vmm *vmm, const char *drive_id, const char *path, struct error *err)
{
    struct fake_calls *calls = &vmm->calls;
    remember(calls->drive_id, sizeof(calls->drive_id), drive_id);
    remember(calls->drive_path, sizeof(calls->drive_path), path);
    return outcome(vmm, err);
}

pid_t vmm_template_fork(struct vmm *vmm, struct template **template, struct template_times *times,
                        struct error *err)
{
    *times = (struct template_times){.paused_ns = 2000000, .fork_ns = 1000000};
    int r = change(vmm, &vmm->calls.template, vmm->state, err);
    return r < 0 ? r : FAKE_TEMPLATE_PID;
}

/* Nobody becomes a template here, and no child of one. */
uint64_t template_memory_bytes(const struct template *template)
{
    abort();
}

void vmm_end(struct vmm *vmm)
{
    abort();
}

int vmm_template_load(struct vmm *vmm, struct template *template,
                      const struct template_child *child, struct error *err)
{
    abort();
}
