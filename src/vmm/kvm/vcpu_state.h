/* SPDX-License-Identifier: Apache-2.0 */
/* The sections of the state file that hold one vCPU. Structs of the kernel's ABI are embedded as
 * they are, with their sizes pinned. */
#ifndef TINE_VMM_KVM_VCPU_STATE_H
#define TINE_VMM_KVM_VCPU_STATE_H

#include <linux/kvm.h>
#include <stddef.h>
#include <stdint.h>

#include "base/error.h"
#include "vmm/state.h"

#define VCPU_STATE_VERSION       1u
#define VCPU_MSRS_STATE_VERSION  1u
#define VCPU_XSAVE_STATE_VERSION 1u
#define VCPU_CPUID_STATE_VERSION 1u
#define VCPU_LAPIC_STATE_VERSION 1u
#define VCPU_XCRS_STATE_VERSION  1u
#define VCPU_XSAVE_MIN           4096u
#define VCPU_XSAVE_LIMIT         65536u

struct vcpu_state {
    struct kvm_regs regs;
    struct kvm_sregs sregs; /* PDPTRs of a PAE guest are read from its memory again on a load */
    struct kvm_vcpu_events events;
    struct kvm_debugregs debugregs;
    uint64_t tsc_offset; /* guest TSC minus host TSC, to keep vCPUs in step; see below */
    uint32_t has_tsc_offset;
    uint32_t mp_state;
    uint32_t tsc_khz;
    uint32_t reserved; /* 0 */
};

_Static_assert(sizeof(struct kvm_regs) == 144, "the kernel's ABI");
_Static_assert(sizeof(struct kvm_sregs) == 312, "the kernel's ABI");
_Static_assert(sizeof(struct kvm_vcpu_events) == 64, "the kernel's ABI");
_Static_assert(sizeof(struct kvm_debugregs) == 128, "the kernel's ABI");
_Static_assert(sizeof(struct kvm_lapic_state) == 1024, "the kernel's ABI");
_Static_assert(sizeof(struct kvm_xcrs) == 392, "the kernel's ABI");
_Static_assert(sizeof(struct kvm_msr_entry) == 16, "the kernel's ABI");
_Static_assert(sizeof(struct kvm_cpuid_entry2) == 40, "the kernel's ABI");
_Static_assert(sizeof(struct vcpu_state) == 672, "the file format is fixed");

/* One vCPU as a state file holds it, checked: counts and lengths are within limits. The pointers
 * are into the file. */
struct vcpu_image {
    struct vcpu_state fixed;
    struct kvm_lapic_state lapic;
    struct kvm_xcrs xcrs;
    const struct kvm_cpuid_entry2 *cpuid;
    size_t cpuid_count;
    const struct kvm_msr_entry *msrs;
    size_t msr_count;
    const uint8_t *xsave;
    size_t xsave_size;
};

/* ERROR_CORRUPT naming the vCPU and what is wrong. */
int vcpu_image_read(struct vcpu_image *image, const struct state_reader *reader, uint32_t index,
                    struct error *err);

#endif
