/* SPDX-License-Identifier: Apache-2.0 */
/* A VM that exists: its memory, KVM's side of it, vCPUs and devices, wired together. It is made
 * paused, either booted or loaded, and then released. */
#ifndef TINE_VMM_MACHINE_H
#define TINE_VMM_MACHINE_H

#include <pthread.h>
#include <stdbool.h>

#include "base/error.h"
#include "base/loop.h"
#include "vmm/config.h"
#include "vmm/devices/bus.h"
#include "vmm/devices/i8042.h"
#include "vmm/devices/power.h"
#include "vmm/devices/serial.h"
#include "vmm/devices/virtio.h"
#include "vmm/devices/vmgenid.h"
#include "vmm/kvm/kvm.h"
#include "vmm/kvm/vcpu.h"
#include "vmm/memory.h"

/* What a machine stands in; borrowed. */
struct machine_place {
    struct loop *loop;        /* of the process; told when the guest is at its end */
    struct loop *device_loop; /* for devices; its lock is device_lock */
    /* Guards the devices: buses, queues, registers, everything behind a bus handler or a device
     * loop handler. vCPU threads take it for each access that leaves the guest. */
    pthread_mutex_t *device_lock;
};

struct machine {
    struct machine_place place;
    struct guest_memory memory;
    struct kvm kvm;
    struct vcpus *vcpus;
    struct bus mmio, ports;
    int serial_irq, i8042_irq, vmgenid_irq; /* eventfds */
    struct serial *serial;
    struct i8042 *i8042;
    struct power power;
    struct vmgenid vmgenid;
    struct virtio_mmio *virtio[VIRTIO_MAX_DEVICES]; /* by slot */
    unsigned virtio_count;
    struct virtio_device *balloon;               /* NULL: none; owned by its transport */
    struct virtio_device *drives[VM_MAX_DRIVES]; /* by place in the configuration; likewise */
};

/* Builds a machine over `memory`, which it takes over, on failure too. Nothing runs yet, and the
 * device loop is not attached. */
struct machine *machine_create(const struct machine_place *place, const struct vm_config *config,
                               struct guest_memory *memory, struct error *err);
/* Stops the vCPUs and gives everything back. The device loop must be detached. */
void machine_destroy(struct machine *machine);

/* Fresh memory: kernel, tables and registers for the first instruction. */
int machine_boot(struct machine *machine, const struct vm_config *config, struct error *err);

/* How far a save may be felt. */
enum machine_saving {
    MACHINE_PREPARED, /* this VM and each copy lose their connections over vsock */
    MACHINE_AS_IS,    /* this VM feels nothing; a copy loses its own when it is loaded */
};

/* Sections of devices, vCPUs and VM; paused. Devices come first: preparing them may raise an
 * interrupt, which the interrupt controllers' state must show. */
int machine_save(struct machine *machine, enum machine_saving saving, struct state_writer *writer,
                 struct error *err);

struct machine_loading {
    bool clock_realtime;        /* the guest's clock goes on from the present */
    enum machine_saving saving; /* how it was saved */
};

/* The reverse, KVM's state first, into a machine just created. The VM generation id is renewed. */
int machine_load(struct machine *machine, const struct state_reader *reader,
                 const struct machine_loading *how, struct error *err);

int machine_resume(struct machine *machine, struct error *err);
/* On failure the machine runs on. */
int machine_pause(struct machine *machine, struct error *err);

#endif
