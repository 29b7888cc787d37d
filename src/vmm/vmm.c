/* SPDX-License-Identifier: Apache-2.0 */
#include "vmm/vmm.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/log.h"
#include "vmm/disks.h"
#include "vmm/vmm_private.h"

struct vmm *vmm_create(const char *id, struct loop *loop, struct error *err)
{
    struct vmm *vmm = calloc(1, sizeof(*vmm));
    if (!vmm) {
        error_errno(err, ENOMEM, NULL, "create the VMM");
        return NULL;
    }
    vmm->id = id;
    vmm->loop = loop;
    vm_config_init(&vmm->config);
    pthread_mutex_init(&vmm->device_lock, NULL); /* can't fail for a default mutex */
    vmm->device_loop = loop_create(err);
    if (!vmm->device_loop) {
        vmm_destroy(vmm);
        return NULL;
    }
    loop_set_lock(vmm->device_loop, &vmm->device_lock);
    return vmm;
}

void vmm_destroy(struct vmm *vmm)
{
    if (!vmm)
        return;
    if (vmm->device_loop)
        loop_detach(vmm->loop, vmm->device_loop);
    machine_destroy(vmm->machine);
    loop_destroy(vmm->device_loop);
    vm_config_free(&vmm->config);
    pthread_mutex_destroy(&vmm->device_lock);
    free(vmm);
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
    static const char *const names[] = {
        [VMM_NOT_STARTED] = "Not started", [VMM_RUNNING] = "Running", [VMM_PAUSED] = "Paused"};
    return names[state];
}

struct vm_config *vmm_config(struct vmm *vmm)
{
    return &vmm->config;
}

struct machine_place vmm_place(struct vmm *vmm)
{
    return (struct machine_place){
        .loop = vmm->loop, .device_loop = vmm->device_loop, .device_lock = &vmm->device_lock};
}

int vmm_start(struct vmm *vmm, struct error *err)
{
    if (vmm->state != VMM_NOT_STARTED)
        return error_set(err, ERROR_STATE, EALREADY, "the microVM is already started");
    if (!vmm->config.boot.kernel_image_path)
        return error_set(err, ERROR_INVALID, EINVAL,
                         "no kernel: boot-source must be configured before the start");
    struct guest_memory memory;
    int r = guest_memory_create(&memory, vmm->config.machine.mem_size_mib << 20, err);
    if (r == 0 && vmm->config.machine.track_dirty_pages)
        r = guest_memory_track(&memory, err);
    if (r < 0) {
        guest_memory_release(&memory);
        return r;
    }
    const struct machine_place place = vmm_place(vmm);
    vmm->machine = machine_create(&place, &vmm->config, &memory, err);
    if (!vmm->machine)
        return err && err->errnum ? -err->errnum : -EIO;
    r = machine_boot(vmm->machine, &vmm->config, err);
    if (r == 0)
        r = machine_resume(vmm->machine, err);
    if (r < 0) {
        machine_destroy(vmm->machine);
        vmm->machine = NULL;
        return r;
    }
    vmm->state = VMM_RUNNING;
    log_info("started: %u vCPUs, %llu MiB", vmm->config.machine.vcpu_count,
             (unsigned long long)vmm->config.machine.mem_size_mib);
    return 0;
}

void vmm_end(struct vmm *vmm)
{
    if (vmm->machine)
        disks_flush_at_end(vmm->machine);
}

static int not_started(struct error *err)
{
    return error_set(err, ERROR_STATE, EINVAL, "the microVM is not started");
}

int vmm_pause(struct vmm *vmm, struct error *err)
{
    if (vmm->state != VMM_RUNNING)
        return vmm->state == VMM_PAUSED ? 0 : not_started(err);
    int r = machine_pause(vmm->machine, err);
    if (r == 0)
        vmm->state = VMM_PAUSED;
    return r;
}

int vmm_resume(struct vmm *vmm, struct error *err)
{
    if (vmm->state != VMM_PAUSED)
        return vmm->state == VMM_RUNNING ? 0 : not_started(err);
    int r = machine_resume(vmm->machine, err);
    if (r == 0)
        vmm->state = VMM_RUNNING;
    return r;
}

int vmm_disks_flush(struct vmm *vmm, struct error *err)
{
    return vmm->machine ? disks_flush(vmm->machine, err) : not_started(err);
}

int vmm_disks_seal(struct vmm *vmm, struct error *err)
{
    if (vmm->state != VMM_PAUSED)
        return error_set(err, ERROR_STATE, EBUSY,
                         "drives are sealed of a paused microVM, this one is %s",
                         vmm_state_name(vmm->state));
    return disks_seal(vmm->machine, err);
}

/* What can't be is left to the guest. */
static int map_for_guest(struct machine *machine, const struct guest_pages *pages,
                         struct error *err)
{
    uint64_t offset, length;
    int r = 0;
    for (unsigned i = 0; r == 0 && i < machine->memory.region_count; i++) {
        const struct guest_region *region = &machine->memory.regions[i];
        if (guest_region_part(region, pages, &offset, &length))
            r = vcpus_map(machine->vcpus, region->gpa + offset, length, err);
    }
    return r < 0 ? r : 0;
}

int vmm_memory_populate(struct vmm *vmm, const struct guest_pages *pages,
                        const struct vmm_populate *how, struct error *err)
{
    if (!vmm->machine)
        return not_started(err);
    if (how->kvm && vmm->state != VMM_PAUSED)
        return error_set(err, ERROR_STATE, EBUSY,
                         "pages are mapped in KVM of a paused microVM, this one is %s",
                         vmm_state_name(vmm->state));
    int r = guest_memory_populate(&vmm->machine->memory, pages, how->write, err);
    return r < 0 || !how->kvm ? r : map_for_guest(vmm->machine, pages, err);
}

int vmm_memory_touched(struct vmm *vmm, guest_touched *tell, void *context, struct error *err)
{
    if (!vmm->machine)
        return not_started(err);
    return guest_memory_touched(&vmm->machine->memory, tell, context, err);
}

int vmm_send_ctrl_alt_del(struct vmm *vmm, struct error *err)
{
    if (!vmm->machine)
        return not_started(err);
    pthread_mutex_lock(&vmm->device_lock);
    int r = i8042_ctrl_alt_del(vmm->machine->i8042, err);
    pthread_mutex_unlock(&vmm->device_lock);
    return r;
}

int vmm_balloon_set(struct vmm *vmm, uint32_t amount_mib, struct error *err)
{
    if (!vmm->machine)
        return not_started(err);
    if (!vmm->machine->balloon)
        return error_set(err, ERROR_STATE, ENODEV, "balloon: the VM has no balloon");
    pthread_mutex_lock(&vmm->device_lock);
    int r = virtio_device_active(vmm->machine->balloon)
                ? virtio_balloon_set_target(vmm->machine->balloon, amount_mib, err)
                : error_set(err, ERROR_STATE, EAGAIN, "balloon: the guest's driver is not active");
    pthread_mutex_unlock(&vmm->device_lock);
    if (r == 0)
        vmm->config.balloon.amount_mib = amount_mib;
    return r;
}

static int drive_reopen(struct vmm *vmm, unsigned place, const char *path, struct error *err)
{
    _cleanup_(free) char *copy = strdup(path);
    if (!copy)
        return error_errno(err, ENOMEM, path, "drive %s", vmm->config.drives[place].drive_id);
    pthread_mutex_lock(&vmm->device_lock);
    int r = virtio_block_reopen(vmm->machine->drives[place], path, err);
    pthread_mutex_unlock(&vmm->device_lock);
    if (r < 0)
        return error_wrap(err, "drive %s", vmm->config.drives[place].drive_id);
    free(vmm->config.drives[place].path_on_host);
    vmm->config.drives[place].path_on_host = TAKE_PTR(copy);
    return 0;
}

int vmm_drive_update(struct vmm *vmm, const char *drive_id, const char *path, struct error *err)
{
    if (!vmm->machine)
        return not_started(err);
    for (unsigned i = 0; i < vmm->config.drive_count; i++) {
        if (strcmp(vmm->config.drives[i].drive_id, drive_id) == 0)
            return drive_reopen(vmm, i, path, err);
    }
    return error_set(err, ERROR_NOT_FOUND, ENOENT, "there is no drive %s", drive_id);
}
