/* SPDX-License-Identifier: Apache-2.0 */
#include "vmm/kvm/kvm_state.h"

#include <string.h>

#include "base/clock.h"
#include "vmm/kvm/kvm.h"

static int irqchip_save(const struct kvm *kvm, struct state_writer *writer, struct error *err)
{
    for (uint32_t i = 0; i < IRQCHIP_COUNT; i++) {
        struct kvm_irqchip chip;
        memset(&chip, 0, sizeof(chip));
        chip.chip_id = i;
        int r = kvm_call(kvm->vm_fd, KVM_GET_IRQCHIP, &chip, "KVM_GET_IRQCHIP", err);
        if (r < 0)
            return r;
        state_put(writer, STATE_IRQCHIP, i, IRQCHIP_STATE_VERSION, &chip, sizeof(chip));
    }
    return 0;
}

static int pit_save(const struct kvm *kvm, struct state_writer *writer, struct error *err)
{
    struct kvm_pit_state2 pit;
    memset(&pit, 0, sizeof(pit));
    int r = kvm_call(kvm->vm_fd, KVM_GET_PIT2, &pit, "KVM_GET_PIT2", err);
    if (r < 0)
        return r;
    state_put(writer, STATE_PIT, 0, PIT_STATE_VERSION, &pit, sizeof(pit));
    return 0;
}

static int clock_save(const struct kvm *kvm, struct state_writer *writer, struct error *err)
{
    struct kvm_clock_data data;
    memset(&data, 0, sizeof(data));
    uint64_t wall_ns = time_realtime_ns();
    int r = kvm_call(kvm->vm_fd, KVM_GET_CLOCK, &data, "KVM_GET_CLOCK", err);
    if (r < 0)
        return r;
    bool exact = (data.flags & KVM_CLOCK_REALTIME) != 0;
    struct clock_state clock = {
        .kvmclock_ns = data.clock, .realtime_ns = exact ? data.realtime : wall_ns, .exact = exact};
    state_put(writer, STATE_CLOCK, 0, CLOCK_STATE_VERSION, &clock, sizeof(clock));
    return 0;
}

int kvm_save(const struct kvm *kvm, struct state_writer *writer, struct error *err)
{
    int r = irqchip_save(kvm, writer, err);
    if (r == 0)
        r = pit_save(kvm, writer, err);
    if (r == 0)
        r = clock_save(kvm, writer, err);
    return r;
}

static int irqchip_load(const struct kvm *kvm, const struct state_reader *reader, struct error *err)
{
    for (uint32_t i = 0; i < IRQCHIP_COUNT; i++) {
        struct kvm_irqchip chip;
        int r =
            state_get(reader, STATE_IRQCHIP, i, IRQCHIP_STATE_VERSION, &chip, sizeof(chip), err);
        if (r < 0)
            return r;
        chip.chip_id = i;
        r = kvm_call(kvm->vm_fd, KVM_SET_IRQCHIP, &chip, "KVM_SET_IRQCHIP", err);
        if (r < 0)
            return r;
    }
    return 0;
}

static int pit_load(const struct kvm *kvm, const struct state_reader *reader, struct error *err)
{
    struct kvm_pit_state2 pit;
    int r = state_get(reader, STATE_PIT, 0, PIT_STATE_VERSION, &pit, sizeof(pit), err);
    return r < 0 ? r : kvm_call(kvm->vm_fd, KVM_SET_PIT2, &pit, "KVM_SET_PIT2", err);
}

/* Two ways to go on. By default kvmclock continues from the saved value: for the guest no time has
 * passed. With `realtime` the time since the save is added, by KVM itself where it can, so that
 * nothing is lost between reading the wall clock here and setting the guest's. */
static int clock_load(const struct kvm *kvm, const struct state_reader *reader, bool realtime,
                      struct error *err)
{
    struct clock_state clock;
    int r = state_get(reader, STATE_CLOCK, 0, CLOCK_STATE_VERSION, &clock, sizeof(clock), err);
    if (r < 0)
        return r;
    struct kvm_clock_data data;
    memset(&data, 0, sizeof(data));
    data.clock = clock.kvmclock_ns;
    if (realtime && kvm->clock_realtime) {
        data.flags = KVM_CLOCK_REALTIME;
        data.realtime = clock.realtime_ns;
    } else if (realtime) {
        uint64_t now = time_realtime_ns();
        /* A wall clock that was set back must not turn the guest's clock back. */
        if (now > clock.realtime_ns)
            data.clock += now - clock.realtime_ns;
    }
    return kvm_call(kvm->vm_fd, KVM_SET_CLOCK, &data, "KVM_SET_CLOCK", err);
}

int kvm_load(const struct kvm *kvm, const struct state_reader *reader, bool clock_realtime,
             struct error *err)
{
    int r = pit_load(kvm, reader, err);
    if (r == 0)
        r = clock_load(kvm, reader, clock_realtime, err);
    if (r == 0)
        r = irqchip_load(kvm, reader, err);
    return r;
}
