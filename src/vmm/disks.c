/* SPDX-License-Identifier: Apache-2.0 */
#include "vmm/disks.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>

#include "base/cleanup.h"
#include "base/file.h"
#include "base/log.h"
#include "stack/disk_stack.h"
#include "vmm/machine.h"

int disks_find_stacks(struct vm_config *config, struct error *err)
{
    for (unsigned i = 0; i < config->drive_count; i++) {
        struct drive_config *drive = &config->drives[i];
        if (drive->is_read_only || drive->is_stack)
            continue;
        _cleanup_(free) char *top = disk_stack_name(drive->path_on_host, DISK_TOP);
        int r = top ? file_exists(AT_FDCWD, top, err)
                    : error_errno(err, ENOMEM, drive->path_on_host, "drive %s", drive->drive_id);
        if (r < 0)
            return r;
        drive->is_stack = r > 0;
    }
    return 0;
}

typedef int disk_act(struct virtio_device *device, struct error *err);

/* The lock is held. */
static int for_each_locked(const struct machine *machine, disk_act *act, struct error *err)
{
    int r = 0;
    for (unsigned i = 0; r == 0 && i < VM_MAX_DRIVES; i++) {
        if (machine->drives[i])
            r = act(machine->drives[i], err);
    }
    return r;
}

static int for_each(const struct machine *machine, disk_act *act, struct error *err)
{
    pthread_mutex_lock(machine->place.device_lock);
    int r = for_each_locked(machine, act, err);
    pthread_mutex_unlock(machine->place.device_lock);
    return r;
}

int disks_flush(const struct machine *machine, struct error *err)
{
    return for_each(machine, virtio_block_flush, err);
}

int disks_seal(const struct machine *machine, struct error *err)
{
    return for_each(machine, virtio_block_seal, err);
}

void disks_flush_at_end(const struct machine *machine)
{
    struct error err = {0};
    if (pthread_mutex_trylock(machine->place.device_lock) != 0) {
        log_warning("what the guest did not flush is lost: a device is in use at the end");
        return;
    }
    if (for_each_locked(machine, virtio_block_flush, &err) < 0)
        log_error("what the guest did not flush is lost: %s", err.message);
    pthread_mutex_unlock(machine->place.device_lock);
}
