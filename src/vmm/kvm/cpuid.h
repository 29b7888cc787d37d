/* SPDX-License-Identifier: Apache-2.0 */
/* What CPUID tells the guest: what the host supports, made consistent for one socket of `count`
 * vCPUs. */
#ifndef TINE_VMM_KVM_CPUID_H
#define TINE_VMM_KVM_CPUID_H

#include <linux/kvm.h>
#include <stdbool.h>

#include "base/error.h"
#include "vmm/kvm/kvm.h"

#define CPUID_MAX_ENTRIES 256u

struct cpuid_topology {
    unsigned index; /* of this vCPU: its APIC id */
    unsigned count; /* of all vCPUs, in one socket */
    bool smt;       /* two threads per core */
    bool tsc_deadline;
};

/* Fills kvm->cpuid (KVM_GET_SUPPORTED_CPUID) if that was not done yet. */
int kvm_supported_cpuid(struct kvm *kvm, struct error *err);

/* A fresh table (owner: caller) made from `supported`; NULL when out of memory. */
struct kvm_cpuid2 *cpuid_normalise(const struct kvm_cpuid2 *supported,
                                   const struct cpuid_topology *topology);

#endif
