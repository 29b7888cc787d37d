/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>

#include "base/cleanup.h"
#include "vmm/kvm/cpuid.h"
#include "vmm/kvm/msr.h"
#include "vmm/kvm/tsc.h"
#include "vmm/kvm/vcpu_internal.h"
#include "vmm/kvm/vcpu_state.h"

/* The LAPIC's timer entry, Intel SDM volume 3, 11.5.1 and 11.5.4. */
#define LAPIC_LVT_TIMER         0x320
#define LAPIC_TIMER_MODE        (3u << 17)
#define LAPIC_TIMER_TSCDEADLINE (2u << 17)
#define LAPIC_TIMER_MASKED      (1u << 16)

static int cpuid_load(struct vcpu *vcpu, const struct vcpu_image *image, struct error *err)
{
    _cleanup_(free) struct kvm_cpuid2 *cpuid =
        calloc(1, sizeof(*cpuid) + image->cpuid_count * sizeof(cpuid->entries[0]));
    if (!cpuid)
        return error_errno(err, ENOMEM, NULL, "load CPUID");
    cpuid->nent = (uint32_t)image->cpuid_count;
    memcpy(cpuid->entries, image->cpuid, image->cpuid_count * sizeof(cpuid->entries[0]));
    return vcpu_set_cpuid(vcpu, cpuid, err);
}

static int xsave_load(const struct vcpu *vcpu, const struct vcpu_image *image, struct error *err)
{
    size_t size = (size_t)vcpu->all->kvm->xsave_size;
    if (image->xsave_size > size)
        return error_set(err, ERROR_UNSUPPORTED, ENOTSUP,
                         "the saved XSAVE area has %zu bytes, this host's has %zu",
                         image->xsave_size, size);
    _cleanup_(free) uint8_t *area = calloc(1, size);
    if (!area)
        return error_errno(err, ENOMEM, NULL, "load the XSAVE area");
    memcpy(area, image->xsave, image->xsave_size);
    return kvm_call(vcpu->fd, KVM_SET_XSAVE, area, "KVM_SET_XSAVE", err);
}

/* KVM reads a deadline as 0 once it has passed. If the interrupt was then on its way, it is in no
 * register that was saved: a guest waiting for it would wait for ever. A deadline of "now" raises
 * it again; one too many does no harm. */
static uint64_t deadline_of(const struct vcpu_image *image, uint64_t saved)
{
    uint32_t timer;
    memcpy(&timer, image->lapic.regs + LAPIC_LVT_TIMER, sizeof(timer));
    bool armed =
        (timer & LAPIC_TIMER_MODE) == LAPIC_TIMER_TSCDEADLINE && (timer & LAPIC_TIMER_MASKED) == 0;
    if (saved != 0 || !armed)
        return saved;
    for (size_t i = 0; i < image->msr_count; i++) {
        if (image->msrs[i].index == MSR_IA32_TSC)
            return image->msrs[i].data;
    }
    return saved;
}

/* All but the TSC, which is set already; the deadline last, since it counts from the TSC. */
static int msrs_load(const struct vcpu *vcpu, const struct vcpu_image *image, struct error *err)
{
    _cleanup_(free) struct kvm_msr_entry *entries = calloc(image->msr_count, sizeof(*entries));
    if (!entries)
        return error_errno(err, ENOMEM, NULL, "load MSRs");
    struct kvm_msr_entry deadline = {0};
    size_t count = 0;
    for (size_t i = 0; i < image->msr_count; i++) {
        if (image->msrs[i].index == MSR_IA32_TSC_DEADLINE)
            deadline = image->msrs[i];
        else if (image->msrs[i].index != MSR_IA32_TSC)
            entries[count++] = image->msrs[i];
    }
    if (deadline.index == MSR_IA32_TSC_DEADLINE) {
        deadline.data = deadline_of(image, deadline.data);
        entries[count++] = deadline;
    }
    return msrs_set(vcpu->fd, entries, count, err);
}

static int registers_load(const struct vcpu *vcpu, const struct vcpu_image *image,
                          struct error *err)
{
    const struct vcpu_state *fixed = &image->fixed;
    struct kvm_mp_state mp = {.mp_state = fixed->mp_state};
    int r = kvm_call(vcpu->fd, KVM_SET_MP_STATE, &mp, "KVM_SET_MP_STATE", err);
    if (r == 0)
        r = kvm_call(vcpu->fd, KVM_SET_REGS, &fixed->regs, "KVM_SET_REGS", err);
    if (r == 0)
        r = kvm_call(vcpu->fd, KVM_SET_SREGS, &fixed->sregs, "KVM_SET_SREGS", err);
    if (r == 0)
        r = xsave_load(vcpu, image, err);
    if (r == 0)
        r = kvm_call(vcpu->fd, KVM_SET_XCRS, &image->xcrs, "KVM_SET_XCRS", err);
    if (r == 0)
        r = kvm_call(vcpu->fd, KVM_SET_DEBUGREGS, &fixed->debugregs, "KVM_SET_DEBUGREGS", err);
    if (r == 0)
        r = kvm_call(vcpu->fd, KVM_SET_LAPIC, &image->lapic, "KVM_SET_LAPIC", err);
    return r;
}

/* Events last: setting registers forgets a pending exception. */
static int vcpu_load(struct vcpus *vcpus, unsigned index, const struct vcpu_image *image,
                     const struct vcpu_image *first, struct error *err)
{
    struct vcpu *vcpu = &vcpus->vcpu[index];
    int r = cpuid_load(vcpu, image, err);
    if (r == 0)
        r = registers_load(vcpu, image, err);
    if (r == 0)
        r = tsc_load(vcpus->kvm, vcpu->fd, image, vcpus->vcpu[0].fd, first, err);
    if (r == 0)
        r = msrs_load(vcpu, image, err);
    if (r == 0)
        r = kvm_call(vcpu->fd, KVM_SET_VCPU_EVENTS, &image->fixed.events, "KVM_SET_VCPU_EVENTS",
                     err);
    if (r < 0)
        return error_wrap(err, "load vCPU %u", index);
    /* The guest was stopped on purpose; EINVAL: it has no kvmclock. */
    (void)ioctl(vcpu->fd, KVM_KVMCLOCK_CTRL, 0);
    return 0;
}

int vcpus_load(struct vcpus *vcpus, const struct state_reader *reader, struct error *err)
{
    _cleanup_(free) struct vcpu_image *images = calloc(2, sizeof(*images));
    if (!images)
        return error_errno(err, ENOMEM, NULL, "load vCPUs");
    struct vcpu_image *first = &images[0];
    struct vcpu_image *image = &images[1];
    for (unsigned i = 0; i < vcpus->count; i++) {
        int r = vcpu_image_read(image, reader, i, err);
        if (r == 0 && i == 0)
            *first = *image;
        if (r == 0)
            r = vcpu_load(vcpus, i, image, first, err);
        if (r < 0)
            return r;
    }
    return 0;
}
