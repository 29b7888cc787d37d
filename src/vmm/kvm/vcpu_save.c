/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>

#include "base/cleanup.h"
#include "vmm/kvm/msr.h"
#include "vmm/kvm/tsc.h"
#include "vmm/kvm/vcpu_internal.h"
#include "vmm/kvm/vcpu_state.h"

static int cpuid_save(const struct vcpu *vcpu, struct state_writer *writer, struct error *err)
{
    _cleanup_(free) struct kvm_cpuid2 *cpuid =
        calloc(1, sizeof(*cpuid) + vcpu->cpuid_count * sizeof(cpuid->entries[0]));
    if (!cpuid)
        return error_errno(err, ENOMEM, NULL, "save CPUID");
    cpuid->nent = vcpu->cpuid_count;
    int r = kvm_call(vcpu->fd, KVM_GET_CPUID2, cpuid, "KVM_GET_CPUID2", err);
    if (r < 0)
        return r;
    state_put(writer, STATE_VCPU_CPUID, vcpu->index, VCPU_CPUID_STATE_VERSION, cpuid->entries,
              vcpu->cpuid_count * sizeof(cpuid->entries[0]));
    return 0;
}

static int msrs_save(const struct vcpu *vcpu, struct state_writer *writer, struct error *err)
{
    int r = kvm_saved_msrs(vcpu->all->kvm, vcpu->fd, err);
    if (r < 0)
        return r;
    const struct kvm_msr_list *list = vcpu->all->kvm->msr_list;
    _cleanup_(free) struct kvm_msr_entry *entries = calloc(list->nmsrs, sizeof(*entries));
    if (!entries)
        return error_errno(err, ENOMEM, NULL, "save MSRs");
    r = msrs_get(vcpu->fd, list, entries, err);
    if (r < 0)
        return r;
    state_put(writer, STATE_VCPU_MSRS, vcpu->index, VCPU_MSRS_STATE_VERSION, entries,
              list->nmsrs * sizeof(*entries));
    return 0;
}

static int xsave_save(const struct vcpu *vcpu, struct state_writer *writer, struct error *err)
{
    const struct kvm *kvm = vcpu->all->kvm;
    _cleanup_(free) void *area = calloc(1, (size_t)kvm->xsave_size);
    if (!area)
        return error_errno(err, ENOMEM, NULL, "save the XSAVE area");
    int r = kvm->xsave2 ? kvm_call(vcpu->fd, KVM_GET_XSAVE2, area, "KVM_GET_XSAVE2", err)
                        : kvm_call(vcpu->fd, KVM_GET_XSAVE, area, "KVM_GET_XSAVE", err);
    if (r < 0)
        return r;
    state_put(writer, STATE_VCPU_XSAVE, vcpu->index, VCPU_XSAVE_STATE_VERSION, area,
              (size_t)kvm->xsave_size);
    return 0;
}

static int lapic_save(const struct vcpu *vcpu, struct state_writer *writer, struct error *err)
{
    struct kvm_lapic_state lapic = {0};
    int r = kvm_call(vcpu->fd, KVM_GET_LAPIC, &lapic, "KVM_GET_LAPIC", err);
    if (r < 0)
        return r;
    state_put(writer, STATE_VCPU_LAPIC, vcpu->index, VCPU_LAPIC_STATE_VERSION, &lapic,
              sizeof(lapic));
    return 0;
}

static int xcrs_save(const struct vcpu *vcpu, struct state_writer *writer, struct error *err)
{
    struct kvm_xcrs xcrs;
    memset(&xcrs, 0, sizeof(xcrs));
    int r = kvm_call(vcpu->fd, KVM_GET_XCRS, &xcrs, "KVM_GET_XCRS", err);
    if (r < 0)
        return r;
    state_put(writer, STATE_VCPU_XCRS, vcpu->index, VCPU_XCRS_STATE_VERSION, &xcrs, sizeof(xcrs));
    return 0;
}

/* The multiprocessing state first: asking for it makes KVM act on a pending INIT or SIPI, which
 * changes registers and LAPIC. */
static int first_part(const struct vcpu *vcpu, struct vcpu_state *state, struct error *err)
{
    struct kvm_mp_state mp = {0};
    int r = kvm_call(vcpu->fd, KVM_GET_MP_STATE, &mp, "KVM_GET_MP_STATE", err);
    if (r == 0)
        r = kvm_call(vcpu->fd, KVM_GET_REGS, &state->regs, "KVM_GET_REGS", err);
    if (r == 0)
        r = kvm_call(vcpu->fd, KVM_GET_SREGS, &state->sregs, "KVM_GET_SREGS", err);
    if (r == 0)
        r = kvm_call(vcpu->fd, KVM_GET_DEBUGREGS, &state->debugregs, "KVM_GET_DEBUGREGS", err);
    state->mp_state = mp.mp_state;
    return r;
}

static int vcpu_save(const struct vcpu *vcpu, struct state_writer *writer, struct error *err)
{
    struct vcpu_state state;
    memset(&state, 0, sizeof(state));
    int r = first_part(vcpu, &state, err);
    if (r == 0)
        r = xsave_save(vcpu, writer, err);
    if (r == 0)
        r = xcrs_save(vcpu, writer, err);
    if (r == 0)
        r = lapic_save(vcpu, writer, err);
    if (r == 0)
        r = tsc_save(vcpu->fd, &state, err);
    if (r == 0)
        r = cpuid_save(vcpu, writer, err);
    if (r == 0)
        r = msrs_save(vcpu, writer, err);
    if (r == 0)
        r = kvm_call(vcpu->fd, KVM_GET_VCPU_EVENTS, &state.events, "KVM_GET_VCPU_EVENTS", err);
    if (r < 0)
        return error_wrap(err, "save vCPU %u", vcpu->index);
    state_put(writer, STATE_VCPU, vcpu->index, VCPU_STATE_VERSION, &state, sizeof(state));
    return 0;
}

int vcpus_save(struct vcpus *vcpus, struct state_writer *writer, struct error *err)
{
    for (unsigned i = 0; i < vcpus->count; i++) {
        int r = vcpu_save(&vcpus->vcpu[i], writer, err);
        if (r < 0)
            return r;
    }
    return 0;
}
