/* SPDX-License-Identifier: Apache-2.0 */
/* Which devices a machine has and where. Slots are handed out in a fixed order, Firecracker's:
 * balloon, drives (the root drive first), vsock, entropy. A load must find the same order. */
#include "vmm/machine_devices.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/log.h"
#include "vmm/boot/acpi.h"

static int interrupt_create(const struct machine *machine, uint32_t gsi, int *eventfd_out,
                            struct error *err)
{
    int fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    if (fd < 0)
        return error_errno(err, errno, NULL, "create the eventfd of interrupt line %u", gsi);
    *eventfd_out = fd;
    return kvm_irqfd(&machine->kvm, fd, gsi, err);
}

/* ---- legacy devices ---- */

/* Standard output, without blocking the guest when nobody reads it. An open file description of our
 * own is tried first: O_NONBLOCK on the shared one would surprise whoever holds the other end. With
 * no standard output at all, what the guest prints is discarded (-1). */
static int stdout_open(int *fd_out, struct error *err)
{
    *fd_out = open("/proc/self/fd/1", O_WRONLY | O_APPEND | O_NONBLOCK | O_NOCTTY | O_CLOEXEC);
    if (*fd_out >= 0)
        return 0;
    _cleanup_(close) int fd = fcntl(STDOUT_FILENO, F_DUPFD_CLOEXEC, STDERR_FILENO + 1);
    if (fd < 0 && errno == EBADF)
        return 0;
    int flags = fd < 0 ? -1 : fcntl(fd, F_GETFL);
    if (flags < 0 || fcntl(fd, F_SETFL, flags | O_NONBLOCK) < 0)
        return error_errno(err, errno, NULL, "use standard output for the serial port");
    *fd_out = TAKE_FD(fd);
    return 0;
}

static int serial_output_open(const char *path, int *fd_out, struct error *err)
{
    if (!path)
        return stdout_open(fd_out, err);
    *fd_out = open(path, O_RDWR | O_CREAT | O_NONBLOCK | O_NOCTTY | O_CLOEXEC, 0600);
    if (*fd_out < 0)
        return error_errno(err, errno, path, "open %s for the serial port", path);
    return 0;
}

static int serial_add(struct machine *machine, const struct vm_config *config, struct error *err)
{
    int out = -1;
    int r = interrupt_create(machine, SERIAL_GSI, &machine->serial_irq, err);
    if (r == 0)
        r = serial_output_open(config->serial_out_path, &out, err);
    if (r < 0)
        return r;
    machine->serial = serial_create(out, machine->serial_irq, err);
    if (!machine->serial)
        return -ENOMEM;
    return bus_add(&machine->ports, serial_bus_device(machine->serial), err);
}

static void guest_reset(void *context)
{
    struct machine *machine = context;
    log_info("the guest asked for a reset");
    loop_stop(machine->place.loop, 0);
}

static void guest_power_off(void *context)
{
    struct machine *machine = context;
    log_info("the guest powered off");
    loop_stop(machine->place.loop, 0);
}

static int i8042_add(struct machine *machine, struct error *err)
{
    int r = interrupt_create(machine, I8042_GSI, &machine->i8042_irq, err);
    if (r < 0)
        return r;
    machine->i8042 = i8042_create(machine->i8042_irq, guest_reset, machine, err);
    if (!machine->i8042)
        return -ENOMEM;
    return bus_add(&machine->ports, i8042_bus_device(machine->i8042), err);
}

static int power_add(struct machine *machine, struct error *err)
{
    power_init(&machine->power, guest_power_off, machine);
    return bus_add(&machine->ports, &machine->power.bus, err);
}

static int vmgenid_add(struct machine *machine, struct error *err)
{
    int r = interrupt_create(machine, machine_vmgenid_gsi(machine), &machine->vmgenid_irq, err);
    machine->vmgenid = (struct vmgenid){.gpa = ACPI_VMGENID_GPA, .irq_fd = machine->vmgenid_irq};
    return r;
}

/* ---- virtio devices ---- */

static int virtio_wire(const struct machine *machine, const struct virtio_mmio *transport,
                       unsigned queue_count, struct error *err)
{
    int r =
        kvm_irqfd(&machine->kvm, virtio_mmio_irq_fd(transport), virtio_mmio_gsi(transport), err);
    for (unsigned i = 0; i < queue_count && r == 0; i++)
        r = kvm_ioeventfd(&machine->kvm, virtio_mmio_notify_fd(transport, i),
                          virtio_mmio_gpa(transport) + VIRTIO_MMIO_QUEUE_NOTIFY, i, err);
    return r;
}

/* Takes `device` over; NULL: its creation failed and `err` is filled. */
static int virtio_add(struct machine *machine, struct virtio_device *device, struct error *err)
{
    if (!device)
        return err && err->errnum ? -err->errnum : -EIO;
    unsigned queue_count = device->ops->queue_count;
    struct virtio_mmio *transport = virtio_mmio_create(device, machine->virtio_count, err);
    if (!transport)
        return err && err->errnum ? -err->errnum : -EIO;
    machine->virtio[machine->virtio_count++] = transport;
    int r = bus_add(&machine->mmio, virtio_mmio_bus_device(transport), err);
    return r < 0 ? r : virtio_wire(machine, transport, queue_count, err);
}

static int balloon_add(struct machine *machine, const struct vm_config *config, struct error *err)
{
    if (!config->balloon.present)
        return 0;
    machine->balloon =
        virtio_balloon_create(&config->balloon, &machine->memory, machine->place.device_loop, err);
    return virtio_add(machine, machine->balloon, err);
}

/* The drives that are, or are not, the root drive. */
static int drives_add(struct machine *machine, const struct vm_config *config, bool root,
                      struct error *err)
{
    for (unsigned i = 0; i < config->drive_count; i++) {
        if (config->drives[i].is_root_device != root)
            continue;
        machine->drives[i] = virtio_block_create(&config->drives[i], &machine->memory,
                                                 machine->place.device_loop, err);
        int r = virtio_add(machine, machine->drives[i], err);
        if (r < 0)
            return error_wrap(err, "drive %s", config->drives[i].drive_id);
    }
    return 0;
}

static int vsock_add(struct machine *machine, const struct vm_config *config, struct error *err)
{
    if (!config->vsock.present)
        return 0;
    return virtio_add(
        machine,
        virtio_vsock_create(&config->vsock, &machine->memory, machine->place.device_loop, err),
        err);
}

static int entropy_add(struct machine *machine, const struct vm_config *config, struct error *err)
{
    if (!config->entropy_present)
        return 0;
    return virtio_add(machine, virtio_rng_create(&machine->memory, machine->place.device_loop, err),
                      err);
}

int machine_add_devices(struct machine *machine, const struct vm_config *config, struct error *err)
{
    int r = serial_add(machine, config, err);
    if (r == 0)
        r = i8042_add(machine, err);
    if (r == 0)
        r = power_add(machine, err);
    if (r == 0)
        r = balloon_add(machine, config, err);
    if (r == 0)
        r = drives_add(machine, config, true, err);
    if (r == 0)
        r = drives_add(machine, config, false, err);
    if (r == 0)
        r = vsock_add(machine, config, err);
    if (r == 0)
        r = entropy_add(machine, config, err);
    if (r == 0)
        r = vmgenid_add(machine, err);
    return r;
}

void machine_remove_devices(struct machine *machine)
{
    for (unsigned i = 0; i < machine->virtio_count; i++)
        virtio_mmio_destroy(machine->virtio[i]);
    machine->virtio_count = 0;
    if (machine->i8042)
        i8042_destroy(machine->i8042);
    if (machine->serial)
        serial_destroy(machine->serial);
    cleanup_close(&machine->serial_irq);
    cleanup_close(&machine->i8042_irq);
    cleanup_close(&machine->vmgenid_irq);
}

uint32_t machine_vmgenid_gsi(const struct machine *machine)
{
    return VIRTIO_FIRST_GSI + machine->virtio_count;
}
