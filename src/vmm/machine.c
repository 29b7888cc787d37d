/* SPDX-License-Identifier: Apache-2.0 */
#include "vmm/machine.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "vmm/boot/acpi.h"
#include "vmm/boot/boot.h"
#include "vmm/cmdline.h"
#include "vmm/machine_devices.h"

/* ---- what vCPU threads call ---- */

static void bus_access(struct machine *machine, const struct bus *bus, uint64_t address,
                       uint8_t *data, size_t size, bool is_write)
{
    pthread_mutex_lock(machine->place.device_lock);
    if (is_write)
        bus_write(bus, address, data, size);
    else
        bus_read(bus, address, data, size);
    pthread_mutex_unlock(machine->place.device_lock);
}

static void mmio_access(void *context, uint64_t gpa, uint8_t *data, size_t size, bool is_write)
{
    struct machine *machine = context;
    bus_access(machine, &machine->mmio, gpa, data, size, is_write);
}

static void port_access(void *context, uint16_t port, uint8_t *data, size_t size, bool is_write)
{
    struct machine *machine = context;
    bus_access(machine, &machine->ports, port, data, size, is_write);
}

static void guest_ended(void *context, int status)
{
    struct machine *machine = context;
    loop_stop(machine->place.loop, status);
}

/* ---- making and unmaking ---- */

/* KVM's order: memory slots before the irqchip (kvm_create), the irqchip before the vCPUs. */
static int machine_build(struct machine *machine, const struct vm_config *config, struct error *err)
{
    const struct vcpu_handlers handlers = {
        .mmio = mmio_access, .port = port_access, .end = guest_ended, .context = machine};
    int r = kvm_create(&machine->kvm, &machine->memory, err);
    if (r < 0)
        return r;
    machine->vcpus = vcpus_create(&machine->kvm, config->machine.vcpu_count, &handlers, err);
    if (!machine->vcpus)
        return err && err->errnum ? -err->errnum : -EIO;
    pthread_mutex_lock(machine->place.device_lock);
    r = machine_add_devices(machine, config, err);
    pthread_mutex_unlock(machine->place.device_lock);
    return r;
}

struct machine *machine_create(const struct machine_place *place, const struct vm_config *config,
                               struct guest_memory *memory, struct error *err)
{
    struct machine *machine = calloc(1, sizeof(*machine));
    if (!machine) {
        error_errno(err, ENOMEM, NULL, "create the machine");
        guest_memory_release(memory);
        return NULL;
    }
    machine->place = *place;
    machine->memory = *memory;
    memset(memory, 0, sizeof(*memory));
    machine->kvm.fd = machine->kvm.vm_fd = -1;
    machine->serial_irq = machine->i8042_irq = machine->vmgenid_irq = -1;
    if (machine_build(machine, config, err) < 0) {
        machine_destroy(machine);
        return NULL;
    }
    return machine;
}

void machine_destroy(struct machine *machine)
{
    if (!machine)
        return;
    vcpus_destroy(machine->vcpus);
    pthread_mutex_lock(machine->place.device_lock);
    machine_remove_devices(machine);
    pthread_mutex_unlock(machine->place.device_lock);
    kvm_destroy(&machine->kvm);
    guest_memory_release(&machine->memory);
    free(machine);
}

/* ---- boot ---- */

static int tables_build(const struct machine *machine, struct error *err)
{
    struct acpi_mmio_device virtio[VIRTIO_MAX_DEVICES];
    for (unsigned i = 0; i < machine->virtio_count; i++)
        virtio[i] = (struct acpi_mmio_device){.gpa = virtio_mmio_gpa(machine->virtio[i]),
                                              .gsi = virtio_mmio_gsi(machine->virtio[i])};
    const struct acpi_layout layout = {.vcpu_count = vcpus_count(machine->vcpus),
                                       .virtio = virtio,
                                       .virtio_count = machine->virtio_count,
                                       .vmgenid_gpa = machine->vmgenid.gpa,
                                       .vmgenid_gsi = machine_vmgenid_gsi(machine)};
    int r = acpi_build(&machine->memory, &layout, err);
    return r < 0 ? r : vmgenid_renew(&machine->vmgenid, &machine->memory, 0, err);
}

/* Every vCPU starts with the same registers; the secondary ones wait for their SIPI anyway. */
static int vcpus_boot(struct machine *machine, const struct boot_entry *entry, bool smt,
                      struct error *err)
{
    for (unsigned i = 0; i < vcpus_count(machine->vcpus); i++) {
        struct kvm_regs regs = {0};
        struct kvm_sregs sregs;
        int r = vcpu_setup(machine->vcpus, i, smt, err);
        if (r == 0)
            r = vcpu_get_registers(machine->vcpus, i, &regs, &sregs, err);
        if (r == 0)
            r = boot_registers(&machine->memory, entry, &regs, &sregs, err);
        if (r == 0)
            r = vcpu_set_registers(machine->vcpus, i, &regs, &sregs, err);
        if (r < 0)
            return r;
    }
    return 0;
}

/* Only a wish: without huge pages in the host's kernel the guest runs all the same. */
static void ask_for_huge_pages(const struct guest_memory *memory)
{
    for (unsigned i = 0; i < memory->region_count; i++)
        (void)madvise(memory->regions[i].host, memory->regions[i].size, MADV_HUGEPAGE);
}

int machine_boot(struct machine *machine, const struct vm_config *config, struct error *err)
{
    char cmdline[VM_CMDLINE_MAX];
    struct boot_entry entry = {0};
    if (strcmp(config->machine.huge_pages, "Transparent") == 0)
        ask_for_huge_pages(&machine->memory);
    int r = cmdline_build(config, cmdline, err);
    if (r < 0)
        return r;
    const struct boot_request request = {.kernel_path = config->boot.kernel_image_path,
                                         .initrd_path = config->boot.initrd_path,
                                         .cmdline = cmdline};
    r = boot_load(&machine->memory, &request, &entry, err);
    if (r == 0)
        r = tables_build(machine, err);
    if (r == 0)
        r = vcpus_boot(machine, &entry, config->machine.smt, err);
    return r < 0 ? r : vcpus_start(machine->vcpus, err);
}

/* ---- running and standing still ---- */

int machine_resume(struct machine *machine, struct error *err)
{
    pthread_mutex_lock(machine->place.device_lock);
    for (unsigned i = 0; i < machine->virtio_count; i++)
        virtio_mmio_kick(machine->virtio[i]);
    pthread_mutex_unlock(machine->place.device_lock);
    int r = loop_attach(machine->place.loop, machine->place.device_loop, err);
    if (r == 0)
        vcpus_resume(machine->vcpus);
    return r;
}

int machine_pause(struct machine *machine, struct error *err)
{
    int r = vcpus_pause(machine->vcpus, err);
    if (r == 0)
        loop_detach(machine->place.loop, machine->place.device_loop);
    return r;
}
