/* SPDX-License-Identifier: Apache-2.0 */
#include "vmm/kvm/vcpu.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/condition.h"
#include "vmm/kvm/cpuid.h"
#include "vmm/kvm/msr.h"
#include "vmm/kvm/vcpu_internal.h"
#include "vmm/kvm/vcpu_run.h"

/* Local vector table entries of the LAPIC page, Intel SDM volume 3, 11.5.1. */
#define LAPIC_LVT_LINT0     0x350
#define LAPIC_LVT_LINT1     0x360
#define LAPIC_MODE_MASK     0x700u
#define LAPIC_MODE_NMI      0x400u
#define LAPIC_MODE_EXTINT   0x700u
#define FPU_CONTROL_DEFAULT 0x37f
#define MXCSR_DEFAULT       0x1f80

static int vcpu_open(struct vcpu *vcpu, struct error *err)
{
    const struct kvm *kvm = vcpu->all->kvm;
    vcpu->fd = ioctl(kvm->vm_fd, KVM_CREATE_VCPU, (unsigned long)vcpu->index);
    if (vcpu->fd < 0)
        return error_errno(err, errno, NULL, "create vCPU %u", vcpu->index);
    void *run = mmap(NULL, (size_t)kvm->run_size, PROT_READ | PROT_WRITE, MAP_SHARED, vcpu->fd, 0);
    if (run == MAP_FAILED)
        return error_errno(err, errno, NULL, "map vCPU %u", vcpu->index);
    vcpu->run = run;
    /* In a forked child this mapping alone would keep the parent's VM alive. */
    if (madvise(run, (size_t)kvm->run_size, MADV_DONTFORK) < 0)
        return error_errno(err, errno, NULL, "keep vCPU %u out of forks", vcpu->index);
    return 0;
}

static int vcpus_init_lock(struct vcpus *vcpus)
{
    int r = condition_init(&vcpus->changed);
    if (r == 0)
        r = pthread_mutex_init(&vcpus->lock, NULL);
    return -r;
}

struct vcpus *vcpus_create(struct kvm *kvm, unsigned count, const struct vcpu_handlers *handlers,
                           struct error *err)
{
    struct vcpus *vcpus = calloc(1, sizeof(*vcpus) + count * sizeof(vcpus->vcpu[0]));
    if (!vcpus || vcpus_init_lock(vcpus) < 0) {
        error_errno(err, ENOMEM, NULL, "create %u vCPUs", count);
        free(vcpus);
        return NULL;
    }
    vcpus->kvm = kvm;
    vcpus->handlers = *handlers;
    vcpus->stop = true;
    for (unsigned i = 0; i < count; i++) {
        struct vcpu *vcpu = &vcpus->vcpu[i];
        vcpu->all = vcpus;
        vcpu->index = i;
        vcpus->count++;
        if (vcpu_open(vcpu, err) < 0) {
            vcpus_destroy(vcpus);
            return NULL;
        }
    }
    return vcpus;
}

void vcpus_destroy(struct vcpus *vcpus)
{
    if (!vcpus)
        return;
    vcpus_join(vcpus);
    for (unsigned i = 0; i < vcpus->count; i++) {
        struct vcpu *vcpu = &vcpus->vcpu[i];
        if (vcpu->run)
            munmap(vcpu->run, (size_t)vcpus->kvm->run_size);
        if (vcpu->fd >= 0)
            close(vcpu->fd);
    }
    pthread_cond_destroy(&vcpus->changed);
    pthread_mutex_destroy(&vcpus->lock);
    free(vcpus);
}

unsigned vcpus_count(const struct vcpus *vcpus)
{
    return vcpus->count;
}

int vcpu_set_cpuid(struct vcpu *vcpu, const struct kvm_cpuid2 *cpuid, struct error *err)
{
    int r = kvm_call(vcpu->fd, KVM_SET_CPUID2, cpuid, "KVM_SET_CPUID2", err);
    vcpu->cpuid_count = r < 0 ? 0 : cpuid->nent;
    return r;
}

static int vcpu_make_cpuid(struct vcpu *vcpu, bool smt, struct error *err)
{
    struct kvm *kvm = vcpu->all->kvm;
    int r = kvm_supported_cpuid(kvm, err);
    if (r < 0)
        return r;
    struct cpuid_topology topology = {.index = vcpu->index,
                                      .count = vcpu->all->count,
                                      .smt = smt,
                                      .tsc_deadline = kvm->tsc_deadline};
    _cleanup_(free) struct kvm_cpuid2 *cpuid = cpuid_normalise(kvm->cpuid, &topology);
    if (!cpuid)
        return error_errno(err, ENOMEM, NULL, "build the CPUID table");
    return vcpu_set_cpuid(vcpu, cpuid, err);
}

static void lapic_set_mode(struct kvm_lapic_state *lapic, unsigned entry, uint32_t mode)
{
    uint32_t value;
    memcpy(&value, lapic->regs + entry, sizeof(value));
    value = (value & ~LAPIC_MODE_MASK) | mode;
    memcpy(lapic->regs + entry, &value, sizeof(value));
}

/* The virtual wire of a PC: the PIC on LINT0, NMI on LINT1. */
static int vcpu_set_lapic(const struct vcpu *vcpu, struct error *err)
{
    struct kvm_lapic_state lapic = {0};
    int r = kvm_call(vcpu->fd, KVM_GET_LAPIC, &lapic, "KVM_GET_LAPIC", err);
    if (r < 0)
        return r;
    lapic_set_mode(&lapic, LAPIC_LVT_LINT0, LAPIC_MODE_EXTINT);
    lapic_set_mode(&lapic, LAPIC_LVT_LINT1, LAPIC_MODE_NMI);
    return kvm_call(vcpu->fd, KVM_SET_LAPIC, &lapic, "KVM_SET_LAPIC", err);
}

int vcpu_setup(struct vcpus *vcpus, unsigned index, bool smt, struct error *err)
{
    struct vcpu *vcpu = &vcpus->vcpu[index];
    struct kvm_fpu fpu = {.fcw = FPU_CONTROL_DEFAULT, .mxcsr = MXCSR_DEFAULT};
    int r = vcpu_make_cpuid(vcpu, smt, err);
    if (r == 0)
        r = msrs_set_boot(vcpu->fd, err);
    if (r == 0)
        r = kvm_call(vcpu->fd, KVM_SET_FPU, &fpu, "KVM_SET_FPU", err);
    if (r == 0)
        r = vcpu_set_lapic(vcpu, err);
    return r < 0 ? error_wrap(err, "vCPU %u", index) : 0;
}

int vcpu_get_registers(struct vcpus *vcpus, unsigned index, struct kvm_regs *regs,
                       struct kvm_sregs *sregs, struct error *err)
{
    const struct vcpu *vcpu = &vcpus->vcpu[index];
    int r = kvm_call(vcpu->fd, KVM_GET_REGS, regs, "KVM_GET_REGS", err);
    if (r == 0)
        r = kvm_call(vcpu->fd, KVM_GET_SREGS, sregs, "KVM_GET_SREGS", err);
    return r < 0 ? error_wrap(err, "vCPU %u", index) : 0;
}

int vcpu_set_registers(struct vcpus *vcpus, unsigned index, const struct kvm_regs *regs,
                       const struct kvm_sregs *sregs, struct error *err)
{
    const struct vcpu *vcpu = &vcpus->vcpu[index];
    int r = kvm_call(vcpu->fd, KVM_SET_SREGS, sregs, "KVM_SET_SREGS", err);
    if (r == 0)
        r = kvm_call(vcpu->fd, KVM_SET_REGS, regs, "KVM_SET_REGS", err);
    return r < 0 ? error_wrap(err, "vCPU %u", index) : 0;
}
