/* SPDX-License-Identifier: Apache-2.0 */
/* Which model-specific registers belong to a vCPU's state, and moving them. */
#ifndef TINE_VMM_KVM_MSR_H
#define TINE_VMM_KVM_MSR_H

#include <linux/kvm.h>
#include <stdint.h>

#include "base/error.h"
#include "vmm/kvm/kvm.h"

#define MSR_IA32_TSC          0x10u
#define MSR_IA32_TSC_DEADLINE 0x6e0u
#define MSR_MAX_COUNT         1024u /* more are refused, from KVM or from a file */

/* Fills kvm->msr_list if that was not done yet: KVM's own list and the registers a guest sets up
 * that KVM leaves out of it (MTRRs, PAT, machine check), without those that this vCPU, whose CPUID
 * is set, does not let us read (and, of the latter, write). */
int kvm_saved_msrs(struct kvm *kvm, int vcpu_fd, struct error *err);

/* Reads `list` into `entries`. A register that can't be read is an error that names it. */
int msrs_get(int vcpu_fd, const struct kvm_msr_list *list, struct kvm_msr_entry *entries,
             struct error *err);
/* Writes them in order. One that KVM refuses is an error that names it and its value. */
int msrs_set(int vcpu_fd, const struct kvm_msr_entry *entries, size_t count, struct error *err);
/* What Linux expects at its 32-bit or 64-bit entry. */
int msrs_set_boot(int vcpu_fd, struct error *err);

#endif
