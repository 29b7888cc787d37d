/* SPDX-License-Identifier: Apache-2.0 */
#include "vmm/machine_state.h"

#include <errno.h>
#include <string.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "vmm/machine.h"

/* ---- save ---- */

static void machine_section(const struct machine *machine, struct state_writer *writer)
{
    struct machine_state state = {.memory_bytes = machine->memory.size,
                                  .vcpu_count = vcpus_count(machine->vcpus),
                                  .virtio_count = machine->virtio_count,
                                  .vmm_version = TINE_VERSION};
    for (unsigned i = 0; i < machine->virtio_count; i++)
        state.virtio_ids[i] = virtio_mmio_device(machine->virtio[i])->ops->device_id;
    state_put(writer, STATE_MACHINE, 0, MACHINE_STATE_VERSION, &state, sizeof(state));
}

static int devices_save(struct machine *machine, enum machine_saving saving,
                        struct state_writer *writer, struct error *err)
{
    for (unsigned i = 0; i < machine->virtio_count; i++) {
        struct virtio_mmio *device = machine->virtio[i];
        int r = saving == MACHINE_AS_IS ? virtio_mmio_save_as_is(device, writer, err)
                                        : virtio_mmio_save(device, writer, err);
        if (r < 0)
            return error_wrap(err, "save device %u", i);
    }
    serial_save(machine->serial, writer);
    i8042_save(machine->i8042, writer);
    vmgenid_save(&machine->vmgenid, writer);
    return 0;
}

int machine_save(struct machine *machine, enum machine_saving saving, struct state_writer *writer,
                 struct error *err)
{
    machine_section(machine, writer);
    pthread_mutex_lock(machine->place.device_lock);
    int r = devices_save(machine, saving, writer, err);
    pthread_mutex_unlock(machine->place.device_lock);
    if (r == 0)
        r = vcpus_save(machine->vcpus, writer, err);
    if (r == 0)
        r = kvm_save(&machine->kvm, writer, err);
    return r;
}

/* ---- load ---- */

int machine_state_read(const struct state_reader *reader, struct machine_state *state,
                       struct vm_config *config, struct error *err)
{
    struct state_section section;
    int r = state_get(reader, STATE_MACHINE, 0, MACHINE_STATE_VERSION, state, sizeof(*state), err);
    if (r < 0)
        return r;
    if (!state_find(reader, STATE_CONFIG, 0, &section) || section.version != CONFIG_STATE_VERSION)
        return error_set(err, ERROR_CORRUPT, EBADMSG,
                         "VM state: it has no configuration that this "
                         "VMM can read");
    r = vm_config_from_json(config, (const char *)section.payload, section.length, err);
    if (r < 0)
        return error_wrap(err, "VM state: its configuration");
    bool fits = state->vcpu_count == config->machine.vcpu_count &&
                state->memory_bytes == config->machine.mem_size_mib << 20 &&
                state->virtio_count <= VIRTIO_MAX_DEVICES &&
                memchr(state->vmm_version, 0, sizeof(state->vmm_version));
    if (!fits)
        return error_set(err, ERROR_CORRUPT, EBADMSG,
                         "VM state: its configuration contradicts its machine section");
    return 0;
}

static int slots_check(const struct machine *machine, const struct state_reader *reader,
                       struct error *err)
{
    struct machine_state state;
    int r = state_get(reader, STATE_MACHINE, 0, MACHINE_STATE_VERSION, &state, sizeof(state), err);
    if (r < 0)
        return r;
    if (state.virtio_count != machine->virtio_count)
        return error_set(err, ERROR_CORRUPT, EBADMSG,
                         "VM state: %u devices, but its configuration has %u", state.virtio_count,
                         machine->virtio_count);
    for (unsigned i = 0; i < machine->virtio_count; i++) {
        uint32_t id = virtio_mmio_device(machine->virtio[i])->ops->device_id;
        if (state.virtio_ids[i] != id)
            return error_set(err, ERROR_CORRUPT, EBADMSG,
                             "VM state: device %u has virtio id %u, its configuration says %u", i,
                             state.virtio_ids[i], id);
    }
    return 0;
}

/* An interrupt that a device raised just before the save may still have been on its way to the
 * interrupt controller (an irqfd delivers through a work queue), and is then in no saved register.
 * The device knows that the driver has not taken note of it; one too many does no harm. */
static void virtio_raise_again(const struct virtio_device *device)
{
    uint64_t one = 1;
    if (device->interrupt_status == 0)
        return;
    ssize_t written = write(device->irq_fd, &one, sizeof(one));
    (void)written; /* an eventfd that is full already says what this would say */
}

static int virtio_load(struct machine *machine, unsigned slot, const struct state_reader *reader,
                       enum machine_saving saving, struct error *err)
{
    struct virtio_mmio *device = machine->virtio[slot];
    int r = virtio_mmio_load(device, reader, err);
    if (r < 0)
        return error_wrap(err, "load device %u", slot);
    if (saving == MACHINE_AS_IS)
        virtio_mmio_prepare(device);
    virtio_raise_again(virtio_mmio_device(device));
    return 0;
}

static int devices_load(struct machine *machine, const struct state_reader *reader,
                        enum machine_saving saving, struct error *err)
{
    int r = serial_load(machine->serial, reader, err);
    if (r == 0)
        r = i8042_load(machine->i8042, reader, err);
    if (r == 0)
        r = vmgenid_load(&machine->vmgenid, reader, err);
    for (unsigned i = 0; i < machine->virtio_count && r == 0; i++)
        r = virtio_load(machine, i, reader, saving, err);
    return r;
}

int machine_load(struct machine *machine, const struct state_reader *reader,
                 const struct machine_loading *how, struct error *err)
{
    int r = slots_check(machine, reader, err);
    if (r == 0)
        r = vcpus_load(machine->vcpus, reader, err);
    if (r == 0)
        r = kvm_load(&machine->kvm, reader, how->clock_realtime, err);
    if (r < 0)
        return r;
    pthread_mutex_lock(machine->place.device_lock);
    r = devices_load(machine, reader, how->saving, err);
    /* Before the first instruction, so that no random number is drawn twice. */
    if (r == 0)
        r = vmgenid_renew(&machine->vmgenid, &machine->memory, 1, err);
    pthread_mutex_unlock(machine->place.device_lock);
    return r < 0 ? r : vcpus_start(machine->vcpus, err);
}
